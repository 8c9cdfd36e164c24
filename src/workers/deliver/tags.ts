import { LabelmillError } from "../../errors.ts";
import type { ObjectVersion } from "../../schemas/enrichment/object.ts";
import type { LabeledRow } from "../../schemas/row.ts";
import { s3Code } from "../../storage/s3/error.ts";
import type { S3, S3Place } from "../../storage/s3/s3.ts";
import { isSameVersion } from "./newer.ts";

const LABEL_TAG = "labelmill-label";
const SCORE_TAG = "labelmill-score";
/** S3's limits: tags of an object, and characters of a value. */
const MAX_TAGS = 10;
const MAX_VALUE_LENGTH = 256;
/** What S3 refuses: all but letters, digits, spaces and `+ - = . _ : / @`. */
const REFUSED = /[^\p{L}\p{N} +\-=._:/@]/gu;
const GONE = new Set(["NoSuchKey", "NoSuchVersion", "MethodNotAllowed"]);

/**
 * Writes the best label and its score as tags of the object. All other tags stay. With a version id, that version gets
 * the tags. Otherwise the object does, if it still is the labeled one: S3 cannot compare and write tags in one step, so
 * an object that is replaced between the two gets the tags of the version before, until its own result arrives.
 * @returns `full`: the object has so many tags that one of the two does not fit
 */
export async function writeTags(
  s3: S3,
  at: S3Place,
  object: ObjectVersion,
  row: LabeledRow,
): Promise<"written" | "superseded" | "full"> {
  const { versionId, etag } = object;
  try {
    if (versionId === undefined && etag !== undefined && !isSameVersion(await s3.head(at), object)) return "superseded";
    const before = await s3.tags(at, versionId);
    const { tags, isFull } = mergedTags(before, row);
    const isChanged = [...tags].some(([name, value]) => before.get(name) !== value);
    if (isChanged) await s3.setTags(at, tags, versionId);
    return isFull ? "full" : "written";
  } catch (error) {
    if (isGone(error)) return "superseded";
    throw error;
  }
}

/** The tags of an object with those of its label. Existing tags stay; ours are added while there is room. */
export function mergedTags(
  before: ReadonlyMap<string, string>,
  { label, score }: Pick<LabeledRow, "label" | "score">,
): { tags: Map<string, string>; isFull: boolean } {
  const tags = new Map(before);
  const ours = { [LABEL_TAG]: tagValue(label), [SCORE_TAG]: String(Math.round(score * 10_000) / 10_000) };
  let isFull = false;
  for (const [name, value] of Object.entries(ours)) {
    if (tags.has(name) || tags.size < MAX_TAGS) tags.set(name, value);
    else isFull = true;
  }
  return { tags, isFull };
}

/** A text as the value of a tag: characters that S3 refuses become `_`. */
export function tagValue(text: string): string {
  const allowed = text.toWellFormed().replaceAll(REFUSED, "_");
  // Not within a surrogate pair.
  return allowed
    .slice(0, MAX_VALUE_LENGTH)
    .toWellFormed()
    .replace(/\ufffd$/, "");
}

function isGone(error: unknown): boolean {
  if (!(error instanceof LabelmillError)) return false;
  return error.code === "STORE_NOT_FOUND" || (error.cause instanceof Error && GONE.has(s3Code(error.cause)));
}
