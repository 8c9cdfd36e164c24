import { z } from "zod";
import { DEFAULT_TOP_K, EventsSchema } from "../../schemas/job.ts";
import { LANES } from "../../schemas/names.ts";
import { ModelPinSchema } from "../../schemas/run.ts";

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

export const SubmissionSchema = z.strictObject({
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

/**
 * The options of a submission with their defaults.
 * @throws z.ZodError for an invalid value, and for an unknown option: ignored, a misspelt one would have no effect
 */
export function optionsOf(submission: Submission): ResolvedSubmission {
  const { texts: _texts, images: _images, ...options } = submission as Partial<Record<"texts" | "images", unknown>>;
  return SubmissionSchema.parse(options);
}
