import { z } from "zod";
import { SCHEMA_VERSION } from "./names.ts";
import { ModelPinSchema } from "./run.ts";

/** What a worker serves of one model, and how it goes. */
export const ServedModelSchema = ModelPinSchema.extend({
  /** How many labels it knows: the bound of `topK`. */
  labels: z.int().min(1),
  device: z.string(),
  /** Batches that may be with the model at a time. */
  slots: z.int().min(1),
  /** Measured while the model was at work; null until it was. */
  itemsPerSecond: z.number().nonnegative().nullable(),
  /** Totals since the worker's start: their quotient is the mean batch. */
  batches: z.int().nonnegative(),
  items: z.int().nonnegative(),
  /** Items that wait for a batch or are in one, at the time of the beat. */
  held: z.int().nonnegative(),
});
export type ServedModel = z.infer<typeof ServedModelSchema>;

/** A worker as it registers, anew every ten seconds. */
export const WorkerInfoSchema = z.strictObject({
  v: z.literal(SCHEMA_VERSION),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  host: z.string().max(255),
  pid: z.int().positive(),
  software: z.string(),
  startedAt: z.iso.datetime(),
  models: z.array(ServedModelSchema).min(1),
  /** What it may open, so that a submission that it would have to refuse is refused before it is queued. */
  fileRoots: z.array(z.string()),
  s3Roots: z.array(z.string()),
});
export type WorkerInfo = z.infer<typeof WorkerInfoSchema>;
