import { hash } from "node:crypto";
import { MAX_ID_LENGTH } from "../source.ts";

/** What stays of each end of an id that is too long, in UTF-16 code units. */
const KEPT_END = 2015;

/**
 * The id as it is, well-formed, where it has at most 4,096 UTF-16 code units. A longer one has the hash of the whole in the place of its middle, so
 * that two ids differ as they did: `#n` is at the end, and paths may begin or end alike.
 */
export function boundedId(id: string): string {
  if (id.length <= MAX_ID_LENGTH) return id.toWellFormed();
  return `${id.slice(0, KEPT_END)}…${hash("sha256", id)}…${id.slice(-KEPT_END)}`.toWellFormed();
}
