/**
 * Refuses an older version of Node with one sentence. Entry points import this first: on an older Node, later imports may fail with an
 * error that does not name the cause.
 */
const NEEDED_NODE = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED_NODE) {
  throw new Error(
    `labelmill needs Node ${NEEDED_NODE} or newer, got Node ${process.versions.node}: install a newer version.`,
  );
}
