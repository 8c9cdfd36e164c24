import { z } from "zod";
import { dataRecord } from "./item.ts";
import { DigestSchema, RunIdSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";
import { RowSchema } from "./row.ts";

/** The most items of a slice whose rows travel in its event. */
export const MAX_EVENT_ROWS = 16;

/**
 * A slice that ended, as told on the results queue: committed, or `failed` for good, in which case there is no part. It is told at
 * least once, so a consumer drops a second one of the same `id`.
 */
export const EventSchema = z.strictObject({
  v: z.literal(SCHEMA_VERSION),
  /** `RUN-SLICE`. */
  id: z.string(),
  run: RunIdSchema,
  slice: z.int().nonnegative(),
  output: z.string(),
  part: z.string(),
  model: z.strictObject({ id: z.string(), digest: DigestSchema }),
  rows: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  labels: dataRecord(z.int().nonnegative()),
  /** The rows themselves, where they were asked for and the slice has at most 16. */
  items: z.array(RowSchema).max(MAX_EVENT_ROWS).optional(),
  failed: z.strictObject({ code: z.string(), message: z.string() }).optional(),
});
export type LabelEvent = z.infer<typeof EventSchema>;

/** An event as it is told on a channel. @returns undefined for anything else: whoever can write to Redis can say what they like */
export function parseEvent(text: string): LabelEvent | undefined {
  try {
    return EventSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
