import { LabelmillError } from "../../errors.ts";
import type { ObjectVersion } from "../../schemas/enrichment/object.ts";
import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import { boundedId } from "../../sources/item/bounded-id.ts";
import type { Source, SourceRecord } from "../../sources/source.ts";
import type { ServerImageItem, ServerTextItem } from "./server-submission.ts";
import type { ImageFields, ItemFields, Submission } from "./submission.ts";

/** What rows of a submission name as their source. */
export const SUBMITTED_URI = "submitted:";

/** An item of a submission as a record. */
export type SubmittedRecord = SourceRecord & { textFile?: string; object?: ObjectVersion };

type Items = { texts?: readonly ServerTextItem[]; images?: readonly ServerImageItem[] };

/** The items of a submission of the library as records. @throws LabelmillError USAGE, INPUT_EMPTY */
export function recordsOf(submission: Submission): SourceRecord[] {
  const records = serverRecordsOf(submission);
  for (const { record, textFile, object } of records)
    if (textFile !== undefined || object !== undefined)
      throw unknownField(record, textFile === undefined ? "object" : "textFile");
  return records;
}

/** The items of a submission of the server as records. @throws LabelmillError USAGE, INPUT_EMPTY */
export function serverRecordsOf(submission: Items): SubmittedRecord[] {
  const { texts, images } = submission;
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

function textRecord(item: ServerTextItem, record: number): SubmittedRecord {
  const fields = typeof item === "string" ? { text: item } : asObject(item, "a text", record);
  if ("textFile" in fields && !("text" in fields)) {
    const { textFile, object, ...rest } = fields;
    if (typeof textFile !== "string") throw notA("a text file's URL", record, textFile);
    return { ...commonOf(rest, record), record, textFile, ...(object ? { object } : {}) };
  }
  const { text, ...rest } = fields;
  if (typeof text !== "string") throw notA("a text", record, text);
  const common = { ...commonOf(rest, record), record };
  if (text.length <= MAX_TEXT_LENGTH) return { ...common, text: text.toWellFormed() };
  const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, got ${text.length}`;
  return { ...common, error: { code: "RECORD_TOO_LARGE", message } };
}

function imageRecord(item: ServerImageItem, record: number): SubmittedRecord {
  const fields = typeof item === "string" ? { image: item } : asObject(item, "an image's reference", record);
  const { image, object, ...rest } = fields as ImageFields & { object?: ObjectVersion | undefined };
  if (typeof image !== "string") throw notA("an image's reference", record, image);
  return { ...commonOf(rest, record), record, image, ...(object ? { object } : {}) };
}

function asObject<T extends object>(item: T, what: string, record: number): T {
  if (typeof item === "object" && item !== null) return item;
  throw notA(what, record, item);
}

function commonOf({ id, input, ...unknown }: ItemFields, record: number) {
  // A misspelt field would have no effect.
  for (const name in unknown) throw unknownField(record, name);
  return { id: boundedId(id ?? `#${record}`), ...(input ? { input } : {}) };
}

function unknownField(record: number, name: string): LabelmillError {
  return new LabelmillError("USAGE", `item ${record}: expected text or image, id and input; got ${name.slice(0, 100)}`);
}

function notA(what: string, record: number, value: unknown): LabelmillError {
  return new LabelmillError("USAGE", `item ${record}: expected ${what}, got ${typeof value}`);
}
