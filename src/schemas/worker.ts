import { z } from "zod";
import { SCHEMA_VERSION } from "./names.ts";
import { ModelPinSchema } from "./run.ts";

/**
 * The stages of the work, and of what each time is the mean.
 *
 * - `wait`: from a slice's being queued to its being taken for the first time. The two clocks may be of two machines: what is less
 *   than nothing is nothing.
 * - `fetch`: getting the bytes of an image, those that could not be got included. Texts travel in the slice: they have none.
 * - `prepare`: an image's decoding, or a text's part of the tokenizing of its slice; waiting for a thread included.
 * - `queue`: from an item's being added to the batcher to its answer, but for the time of its batch in the model.
 * - `infer`: an item's part of the time of its batch in the model, padding and collating included.
 * - `write`: putting a slice's part into the store and committing it; of a part that stands already, the commit.
 */
export const STAGES = {
  wait: "slice",
  fetch: "item",
  prepare: "item",
  queue: "item",
  infer: "item",
  write: "slice",
} as const satisfies Record<string, "slice" | "item">;
export type Stage = keyof typeof STAGES;

/** How many slices or items a stage is through with, and the mean of their times in ms; null if there were none. */
const StageTimeSchema = z.object({ count: z.int().nonnegative(), meanMs: z.number().nonnegative().nullable() });
export type StageTime = z.infer<typeof StageTimeSchema>;

const ShareSchema = z.number().min(0).max(1).nullable();

/** How the work with a model goes, since the worker's start where nothing else is said. Shares are from 0 to 1; null before there was any. */
export const ModelWorkSchema = z.object({
  /** Inference threads, and threads within the run of each. */
  threads: z.int().min(1),
  intraOpThreads: z.int().min(1),
  /** Time in which the model ran ÷ (threads × time). */
  busy: z.object({ sinceStart: ShareSchema, lastMinute: ShareSchema }),
  /** Cost of the batches without padding ÷ with it. */
  paddingEfficiency: ShareSchema,
  /** Items of a batch. */
  meanBatch: z.number().nonnegative().nullable(),
  /** Batches, by why they were not larger: the budget was full, nothing else waited, or only items of other lengths. */
  cuts: z.object({ full: z.int().nonnegative(), drained: z.int().nonnegative(), lengths: z.int().nonnegative() }),
  /** Budgets that were found so far, by the longest of the lengths that share it: padded tokens of a batch, or images. */
  budgets: z.record(z.string(), z.number().positive()),
  /** Whether the search for budgets and threads is over, as far as lengths have come. */
  settled: z.boolean(),
  /** Items that wait for a batch: those that are held and in none. */
  depth: z.int().nonnegative(),
  stages: z.object({
    wait: StageTimeSchema,
    fetch: StageTimeSchema,
    prepare: StageTimeSchema,
    queue: StageTimeSchema,
    infer: StageTimeSchema,
    write: StageTimeSchema,
  } satisfies Record<Stage, z.ZodType>),
});
export type ModelWork = z.infer<typeof ModelWorkSchema>;

/** What a worker serves of one model, and how it goes. */
export const ServedModelSchema = z.object({
  ...ModelPinSchema.shape,
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
  /** Undefined where an older worker does not tell, or a newer one in other words: it is no less a worker for that. */
  work: ModelWorkSchema.optional().catch(undefined),
});
export type ServedModel = z.infer<typeof ServedModelSchema>;

/** A store that a worker waits for: it does not answer (`outage`), or refuses until somebody changes something (`refused`). */
export const OutageInfoSchema = z.object({
  /** `s3://BUCKET`, or the output's URI where that is a folder. */
  place: z.string(),
  kind: z.enum(["outage", "refused"]),
  since: z.iso.datetime(),
  nextTryAt: z.iso.datetime(),
  reason: z.string(),
  /** Labeled slices whose rows wait in the worker's memory. */
  kept: z.int().nonnegative(),
});
export type OutageInfo = z.infer<typeof OutageInfoSchema>;

/** A worker as it registers, anew every ten seconds. What a newer worker tells beyond this is left out, here and within. */
export const WorkerInfoSchema = z.object({
  v: z.literal(SCHEMA_VERSION),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  host: z.string().max(255),
  pid: z.int().positive(),
  software: z.string(),
  startedAt: z.iso.datetime(),
  models: z.array(ServedModelSchema).min(1),
  /** Why they run on the device that they run on. */
  deviceReason: z.string().optional(),
  /** What it may open, so that a submission that it would have to refuse is refused before it is queued. */
  fileRoots: z.array(z.string()),
  s3Roots: z.array(z.string()),
  /** None: all stores work, or an older worker does not tell. */
  outages: z.array(OutageInfoSchema).optional().catch(undefined),
  /** Where its outputs may lie, folders and `s3://` prefixes; none: in all of its roots. */
  outputRoots: z.array(z.string()).optional(),
});
export type WorkerInfo = z.infer<typeof WorkerInfoSchema>;
