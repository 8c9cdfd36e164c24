#!/usr/bin/env node
// Plain JavaScript that old Nodes can read, so that they get a sentence, not a stack.
const NEEDED_NODE = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED_NODE) {
  process.stderr.write(
    `labelmill needs Node ${NEEDED_NODE} or newer, and this is ${process.versions.node}. Install it, or run \`npx labelmill\`, ` +
      "which finds the Node that came with the package (x64 Linux).\n",
  );
  process.exitCode = 1;
} else {
  import("../dist/cli.js");
}
