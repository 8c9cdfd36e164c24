#!/usr/bin/env node
// Plain JavaScript that old Nodes can read, so that they get a sentence, not a stack.
const NEEDED_NODE = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED_NODE) {
  process.stderr.write(
    `labelmill needs Node ${NEEDED_NODE} or newer, and this is Node ${process.versions.node}: install a newer one.\n`,
  );
  process.exitCode = 1;
} else {
  import("../dist/cli.js");
}
