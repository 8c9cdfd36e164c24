import { LabelmillError } from "../../errors.ts";
import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import { boundedId } from "../../sources/item/bounded-id.ts";
import type { Source, SourceRecord } from "../../sources/source.ts";
import type { ImageItem, ItemFields, Submission, TextItem } from "./submission.ts";

/** What rows of a submission name as their source. */
export const SUBMITTED_URI = "submitted:";

/** The items of a submission as records. @throws LabelmillError USAGE, INPUT_EMPTY */
export function recordsOf(submission: Submission): SourceRecord[] {
  const { texts, images } = submission as { texts?: readonly TextItem[]; images?: readonly ImageItem[] };
  if (texts !== undefined && images !== undefined)
    throw new LabelmillError("USAGE", "submit: expected either texts or images; got both: submit them separately");
  const records = texts === undefined ? arrayOf(images).map(imageRecord) : arrayOf(texts).map(textRecord);
  if (records.length === 0) throw new LabelmillError("INPUT_EMPTY", "expected at least one item to label, got none");
  return records;
}

/** A submission as a source, in the manner of a file's. @throws LabelmillError USAGE, INPUT_EMPTY */
export function sourceOf(submission: Submission): Source {
  const records = recordsOf(submission);
  return {
    input: { uri: SUBMITTED_URI, size: null, modifiedAt: null, hash: null },
    read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
    async *records() {
      yield* records;
    },
  };
}

/** JavaScript lets through what the types refuse. */
function arrayOf<T>(items: readonly T[] | undefined): readonly T[] {
  if (Array.isArray(items)) return items;
  throw new LabelmillError("USAGE", `submit: expected texts or images, as an array; got ${typeof items}`);
}

function textRecord(item: TextItem, record: number): SourceRecord {
  const { text, ...rest } = typeof item === "string" ? { text: item } : item;
  if (typeof text !== "string") throw notA("a text", record, text);
  const common = { ...commonOf(rest, record), record };
  if (text.length <= MAX_TEXT_LENGTH) return { ...common, text: text.toWellFormed() };
  const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, got ${text.length}`;
  return { ...common, error: { code: "RECORD_TOO_LARGE", message } };
}

function imageRecord(item: ImageItem, record: number): SourceRecord {
  const { image, ...rest } = typeof item === "string" ? { image: item } : item;
  if (typeof image !== "string") throw notA("an image's reference", record, image);
  return { ...commonOf(rest, record), record, image };
}

function commonOf({ id, input, ...unknown }: ItemFields, record: number) {
  // A misspelt field would have no effect.
  for (const name in unknown)
    throw new LabelmillError(
      "USAGE",
      `item ${record}: expected text or image, id and input; got ${name.slice(0, 100)}`,
    );
  return { id: boundedId(id ?? `#${record}`), ...(input ? { input } : {}) };
}

function notA(what: string, record: number, value: unknown): LabelmillError {
  return new LabelmillError("USAGE", `item ${record}: expected ${what}, got ${typeof value}`);
}
