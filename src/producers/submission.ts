import type { z } from "zod";
import { LabelmillError } from "../errors.ts";
import { MAX_TEXT_LENGTH } from "../schemas/item.ts";
import type { EventsSchema } from "../schemas/job.ts";
import type { Lane } from "../schemas/names.ts";
import type { ModelPin } from "../schemas/run.ts";
import { MAX_ID_LENGTH, type Source, type SourceRecord } from "../sources/source.ts";

/** What rows of a submission name as their source. */
export const SUBMITTED_URI = "submitted:";

/** A text, or one with an id of the caller's and fields to be copied into its row. The id is `#0`, `#1`, … by default. */
export type TextItem = string | { text: string; id?: string; input?: Record<string, unknown> };
/** A reference (`s3:`, `http:`, `https:`, or `file:` where workers were granted it), likewise. */
export type ImageItem = string | { image: string; id?: string; input?: Record<string, unknown> };

/** What `submit` takes. */
export type Submission = {
  /** A model's name as workers serve it; `name@digest` where they serve several versions. */
  model: string;
  /** Interactive goes first, bulk keeps at least a fifth. Interactive by default where all fits into one slice. */
  lane?: Lane;
  /** Labels in a row, best first, 1..1000; 5 by default. */
  topK?: number;
  /** What the results queue is told: `rows` by default where all fits into one slice, else `parts`. */
  events?: z.infer<typeof EventsSchema>;
  /** Queue though nobody serves the model: then its whole digest and its task have to be told. */
  pin?: ModelPin;
} & ({ texts: readonly TextItem[] } | { images: readonly ImageItem[] });

/** A submission as a source, in the manner of a file's. @throws LabelmillError USAGE, INPUT_EMPTY */
export function sourceOf(submission: Submission): Source {
  const records = "texts" in submission ? submission.texts.map(textRecord) : submission.images.map(imageRecord);
  if (records.length === 0) throw new LabelmillError("INPUT_EMPTY", "expected at least one item to label, got none");
  return {
    input: { uri: SUBMITTED_URI, size: null, modifiedAt: null, hash: null },
    read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
    async *records() {
      yield* records;
    },
  };
}

function textRecord(item: TextItem, record: number): SourceRecord {
  const { text, ...rest } = typeof item === "string" ? { text: item } : item;
  if (typeof text !== "string") throw notA("a text", record, text);
  const common = { ...commonOf(rest, record), record };
  if (text.length <= MAX_TEXT_LENGTH) return { ...common, text: text.toWellFormed() };
  const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, came ${text.length}`;
  return { ...common, error: { code: "RECORD_TOO_LARGE", message } };
}

function imageRecord(item: ImageItem, record: number): SourceRecord {
  const { image, ...rest } = typeof item === "string" ? { image: item } : item;
  if (typeof image !== "string") throw notA("an image's reference", record, image);
  return { ...commonOf(rest, record), record, image };
}

function commonOf({ id, input }: { id?: string; input?: Record<string, unknown> }, record: number) {
  return { id: (id ?? `#${record}`).slice(0, MAX_ID_LENGTH).toWellFormed(), ...(input ? { input } : {}) };
}

function notA(what: string, record: number, came: unknown): LabelmillError {
  return new LabelmillError("USAGE", `item ${record}: expected ${what}, got ${typeof came}`);
}
