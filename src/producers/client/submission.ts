import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import { DEFAULT_TOP_K, EventsSchema } from "../../schemas/job.ts";
import { LANES } from "../../schemas/names.ts";
import { ModelPinSchema } from "../../schemas/run.ts";
import { boundedId } from "../../sources/item/bounded-id.ts";
import type { Source, SourceRecord } from "../../sources/source.ts";

/** What rows of a submission name as their source. */
const SUBMITTED_URI = "submitted:";

/** A text to label: the text alone, or an object. */
export type TextItem = string | TextFields;

/** A text to label, with an id and fields of the caller. */
export interface TextFields extends ItemFields {
  /**
   * The text, at most 1,000,000 UTF-16 code units. A longer one gets an error row with the code
   * `RECORD_TOO_LARGE`.
   */
  text: string;
}

/** An image to label: its reference alone, or an object. */
export type ImageItem = string | ImageFields;

/** An image to label, with an id and fields of the caller. */
export interface ImageFields extends ItemFields {
  /**
   * An `s3:`, `http:` or `https:` URL, or a `file:` URL if workers were granted that path. At most
   * 8,192 UTF-16 code units.
   */
  image: string;
}

/** What every item may have. */
export interface ItemFields {
  /**
   * The id of the row. More than 4,096 UTF-16 code units are shortened. Default: `#0`, `#1`, … in
   * the order of the items.
   */
  id?: string;
  /** An object of JSON values, copied unchanged into the row. If omitted, the row has none. */
  input?: Record<string, unknown>;
}

const SubmissionSchema = z.object({
  /**
   * The name of a model that workers serve, or `name@digest` where they serve several versions of
   * it.
   */
  model: z.string().min(1),
  /**
   * The priority. Workers take `interactive` jobs first and keep at least a fifth of their work for
   * `bulk` jobs. Default: `interactive` if the submission fits into one slice, else `bulk`.
   */
  lane: z.enum(LANES).optional(),
  /**
   * The number of labels in a row, best first, from 1 to 1,000. A model with fewer labels gives all
   * of them. Default: 5.
   */
  topK: z.int().min(1).max(1000).default(DEFAULT_TOP_K),
  /**
   * What the results queue gets for each slice: no event, an event with counts (`parts`), or an
   * event that also has the rows of a slice of at most 16 items (`rows`). Default: `rows` if the
   * submission fits into one slice, else `parts`.
   */
  events: EventsSchema.optional(),
  /**
   * The exact model. The submission is then queued even if no worker serves that model yet.
   * Default: the model that workers serve.
   */
  pin: ModelPinSchema.optional(),
});

/**
 * How to label the items of a submission.
 *
 * @interface
 */
export type SubmissionOptions = z.input<typeof SubmissionSchema>;

/** Items to label, and how to label them. */
export type Submission = SubmissionOptions &
  (
    | {
        /** The texts, at least one. */
        texts: readonly TextItem[];
      }
    | {
        /** The images, at least one. */
        images: readonly ImageItem[];
      }
  );

/** The options of a submission with their defaults, without its items. */
export type ResolvedSubmission = z.infer<typeof SubmissionSchema>;

/** The options of a submission with their defaults. @throws z.ZodError */
export function optionsOf(submission: Submission): ResolvedSubmission {
  return SubmissionSchema.parse(submission);
}

/**
 * A submission as a source, in the manner of a file's. @throws LabelmillError USAGE, INPUT_EMPTY
 */
export function sourceOf(submission: Submission): Source {
  const records =
    "texts" in submission ? arrayOf(submission.texts).map(textRecord) : arrayOf(submission.images).map(imageRecord);
  if (records.length === 0) throw new LabelmillError("INPUT_EMPTY", "expected at least one item to label, got none");
  return {
    input: { uri: SUBMITTED_URI, size: null, modifiedAt: null, hash: null },
    read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
    async *records() {
      yield* records;
    },
  };
}

/** JavaScript lets through what the types refuse. */
function arrayOf<T>(items: readonly T[]): readonly T[] {
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

function commonOf({ id, input }: { id?: string; input?: Record<string, unknown> }, record: number) {
  return { id: boundedId(id ?? `#${record}`), ...(input ? { input } : {}) };
}

function notA(what: string, record: number, value: unknown): LabelmillError {
  return new LabelmillError("USAGE", `item ${record}: expected ${what}, got ${typeof value}`);
}
