import { z } from "zod";
import { DigestSchema, RunIdSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";
import { RowSchema } from "./row.ts";

/** The most items of a slice whose rows travel in its event. */
export const MAX_EVENT_ROWS = 16;

/** A committed slice, as told on the results queue: at least once, so a consumer drops a second one of the same `id`. */
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
  labels: z.record(z.string(), z.int().nonnegative()),
  /** The rows themselves, where they were asked for and the slice has at most 16. */
  items: z.array(RowSchema).max(MAX_EVENT_ROWS).optional(),
});
export type LabelEvent = z.infer<typeof EventSchema>;
