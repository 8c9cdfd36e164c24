import type { ObjectVersion } from "../../schemas/enrichment/object.ts";
import type { Sidecar } from "../../schemas/enrichment/sidecar.ts";

/** What decides which of two results of one object is newer. */
export type Result = Pick<Sidecar, "object" | "run" | "labeledAt">;

/**
 * Whether a result replaces another one of the same object:
 *
 * 1. The result of the same run stays: a step was repeated.
 * 2. With two sequencers, the greater one is newer.
 * 3. Of one version, the later label is newer.
 * 4. Otherwise the result of the version that the object has now is newer.
 * 5. If neither is of that version: between two versions, the result that exists stays; without versions, the later
 *    label is newer.
 *
 * @param current returns the version that the object has now; undefined if it does not exist or has no versions
 */
export async function isNewer(
  ours: Result,
  theirs: Result,
  current: () => Promise<ObjectVersion | undefined>,
): Promise<boolean> {
  if (ours.run === theirs.run) return false;
  const order = compareSequencers(ours.object.sequencer, theirs.object.sequencer);
  if (order !== undefined && order !== 0) return order > 0;
  if (order === 0 || isSameVersion(ours.object, theirs.object)) return ours.labeledAt > theirs.labeledAt;
  const now = await current();
  if (now && isSameVersion(now, theirs.object)) return false;
  if (now && isSameVersion(now, ours.object)) return true;
  return hasVersion(ours.object) && hasVersion(theirs.object) ? false : ours.labeledAt > theirs.labeledAt;
}

/**
 * Compares the sequencers of two events of one object, as S3 documents it: the shorter one is padded with zeros at its
 * right, then the two are compared as texts.
 * @returns negative, 0 or positive; undefined if one is missing
 */
export function compareSequencers(left: string | undefined, right: string | undefined): number | undefined {
  if (left === undefined || right === undefined) return undefined;
  const length = Math.max(left.length, right.length);
  const [a, b] = [left, right].map((each) => each.toLowerCase().padEnd(length, "0")) as [string, string];
  return a < b ? -1 : a > b ? 1 : 0;
}

/** By the version id if both have one, else by the ETag. */
export function isSameVersion(left: ObjectVersion, right: ObjectVersion): boolean {
  if (left.versionId !== undefined && right.versionId !== undefined) return left.versionId === right.versionId;
  return left.etag !== undefined && left.etag === right.etag;
}

function hasVersion({ versionId, etag }: ObjectVersion): boolean {
  return versionId !== undefined || etag !== undefined;
}
