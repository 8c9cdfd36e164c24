/**
 * Refuses an older Node with one sentence. Entries import it first, for its effect: what they import next may fail on an older Node in
 * ways that name another cause.
 */
const NEEDED_NODE = 24;

if (Number(process.versions.node.split(".")[0]) < NEEDED_NODE) {
  throw new Error(
    `labelmill needs Node ${NEEDED_NODE} or newer, and this is Node ${process.versions.node}: install a newer one.`,
  );
}
