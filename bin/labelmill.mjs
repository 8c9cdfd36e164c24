#!/usr/bin/env node
// Plain JavaScript that old versions of Node can parse, so that they print a message, not a stack.
const NEEDED_NODE = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED_NODE) {
  process.stderr.write(
    `labelmill needs Node ${NEEDED_NODE} or newer, got Node ${process.versions.node}: install a newer version.\n`,
  );
  process.exitCode = 1;
} else {
  import("../dist/cli.js");
}
