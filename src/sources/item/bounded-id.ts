import { hash } from "node:crypto";
import { MAX_ID_LENGTH } from "../source.ts";

/** Length of each end that is kept of an id that is too long, in UTF-16 code units. */
const KEPT_END = 2015;

/**
 * The id, well-formed, if it has at most 4,096 UTF-16 code units. In a longer one, the middle is replaced by the hash of the whole id, so
 * that different ids stay different: `#n` is at the end, and paths may have the same beginning or end.
 */
export function boundedId(id: string): string {
  if (id.length <= MAX_ID_LENGTH) return id.toWellFormed();
  return `${id.slice(0, KEPT_END)}…${hash("sha256", id)}…${id.slice(-KEPT_END)}`.toWellFormed();
}
