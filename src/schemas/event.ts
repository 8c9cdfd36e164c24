import { z } from "zod";
import { dataRecord } from "./item.ts";
import { DigestSchema, RunIdSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";
import { RowSchema } from "./row.ts";

/** The most items of a slice whose rows travel in its event. */
export const MAX_EVENT_ROWS = 16;

export const FailureSchema = z.strictObject({
  /** The error code, one of those in docs/errors.md. */
  code: z.string(),
  /** What was expected, what was got and how to fix it. */
  message: z.string(),
});
/**
 * Why a slice or a run failed.
 *
 * @interface
 */
export type Failure = z.infer<typeof FailureSchema>;

export const EventSchema = z.strictObject({
  /** The version of this schema. */
  v: z.literal(SCHEMA_VERSION),
  /** `RUN-SLICE`: the id of the job too. */
  id: z.string(),
  /** The id of the run: 16 hexadecimal digits. */
  run: RunIdSchema,
  /** The number of the slice in its run, from 0. */
  slice: z.int().nonnegative(),
  /** The URI of the store that has the rows. */
  output: z.string(),
  /** The key of the part in that store. */
  part: z.string(),
  /** The model. */
  model: z.strictObject({
    /** The id of the model. */
    id: z.string(),
    /** The digest of the model: 64 hexadecimal digits. */
    digest: DigestSchema,
  }),
  /** Number of rows, rows with an error included. */
  rows: z.int().nonnegative(),
  /** Number of rows with an error. */
  errors: z.int().nonnegative(),
  /** Number of rows for each best label. */
  labels: dataRecord(z.int().nonnegative()),
  /** The rows, if the submission asked for them and the slice has at most 16. Else omitted. */
  items: z.array(RowSchema).max(MAX_EVENT_ROWS).optional(),
  /** Why the slice failed permanently: it has no part. Omitted if it succeeded. */
  failed: FailureSchema.optional(),
});
/**
 * The end of one slice, as the results queue has it. Delivery is at least once: a consumer drops a
 * second event with the same `id`.
 *
 * @interface
 */
export type LabelEvent = z.infer<typeof EventSchema>;

/**
 * Parses an event that was received as JSON. A process that can write to Redis can publish
 * anything, so the text is checked.
 *
 * @param text - The JSON of one event.
 * @returns The event, or `undefined` if the text is not a valid event. It never throws.
 */
export function parseEvent(text: string): LabelEvent | undefined {
  try {
    return EventSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
