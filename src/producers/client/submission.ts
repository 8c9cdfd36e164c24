import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import { EventsSchema } from "../../schemas/job.ts";
import { LANES } from "../../schemas/names.ts";
import { ModelPinSchema } from "../../schemas/run.ts";
import { boundedId } from "../../sources/item/bounded-id.ts";
import type { Source, SourceRecord } from "../../sources/source.ts";

/** What rows of a submission name as their source. */
export const SUBMITTED_URI = "submitted:";

/** A text, or one with an id of the caller's and fields to be copied into its row. The id is `#0`, `#1`, … by default. */
export type TextItem = string | { text: string; id?: string; input?: Record<string, unknown> };
/** A reference (`s3:`, `http:`, `https:`, or `file:` where workers were granted it), likewise. */
export type ImageItem = string | { image: string; id?: string; input?: Record<string, unknown> };

/** How items are to be labeled. */
const SubmissionSchema = z.object({
  /** A model's name as workers serve it; `name@digest` where they serve several versions. */
  model: z.string().min(1),
  /** Interactive goes first, bulk keeps at least a fifth. Interactive by default where all fits into one slice. */
  lane: z.enum(LANES).optional(),
  /** Labels in a row, best first. */
  topK: z.int().min(1).max(1000).default(5),
  /** What the results queue is told: `rows` by default where all fits into one slice, else `parts`. */
  events: EventsSchema.optional(),
  /** Queue though nobody serves the model: then its whole digest and its task have to be told. */
  pin: ModelPinSchema.optional(),
});

/** What `submit` takes. */
export type Submission = z.input<typeof SubmissionSchema> &
  ({ texts: readonly TextItem[] } | { images: readonly ImageItem[] });
export type SubmissionOptions = z.infer<typeof SubmissionSchema>;

/** The options of a submission with their defaults. @throws z.ZodError */
export function optionsOf(submission: Submission): SubmissionOptions {
  return SubmissionSchema.parse(submission);
}

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
  return { id: boundedId(id ?? `#${record}`), ...(input ? { input } : {}) };
}

function notA(what: string, record: number, came: unknown): LabelmillError {
  return new LabelmillError("USAGE", `item ${record}: expected ${what}, got ${typeof came}`);
}
