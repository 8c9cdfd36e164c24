import { z } from "zod";
import { SCHEMA_VERSION } from "./names.ts";
import { ModelPinSchema } from "./run.ts";

/**
 * The stages of the work. Each has the mean time of a slice or of an item.
 *
 * - `wait`: a slice waits in its queue until a worker takes it for the first time. The two times may be of the clocks
 *   of two machines: a negative difference counts as 0.
 * - `fetch`: the bytes of an image are fetched, failures included. Texts are in the slice, so they have no such time.
 * - `prepare`: an image is decoded, or a text takes its share of the tokenizing of its slice. Waiting for a thread is
 *   included.
 * - `queue`: an item is in the batcher, from its arrival to its result, without the time of its batch in the model.
 * - `infer`: the share of an item in the time of its batch in the model. Padding and collating are included.
 * - `write`: the part of a slice is written to the store and committed. For an existing part, only the commit.
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

/** The number of slices or items that finished a stage, and their mean time in ms. Null if the number is 0. */
const StageTimeSchema = z.object({ count: z.int().nonnegative(), meanMs: z.number().nonnegative().nullable() });
export type StageTime = z.infer<typeof StageTimeSchema>;

const ShareSchema = z.number().min(0).max(1).nullable();

/**
 * Statistics of the work with a model since the start of the worker, if not stated otherwise. Shares are from 0 to 1,
 * and null before the first batch.
 */
export const ModelWorkSchema = z.object({
  /** Inference threads. */
  threads: z.int().min(1),
  /** Threads within each of them. */
  intraOpThreads: z.int().min(1),
  /** Time for which the model ran ÷ (threads × elapsed time). */
  busy: z.object({ sinceStart: ShareSchema, lastMinute: ShareSchema }),
  /** Cost of the batches without padding ÷ cost with padding. */
  paddingEfficiency: ShareSchema,
  /** Mean number of items in a batch. */
  meanBatch: z.number().nonnegative().nullable(),
  /** Batches by the reason why they were not larger: full budget, no other items, or only items of other lengths. */
  cuts: z.object({ full: z.int().nonnegative(), drained: z.int().nonnegative(), lengths: z.int().nonnegative() }),
  /**
   * The budgets found so far, in padded tokens or images of a batch. The key is the longest of the lengths that share a
   * budget.
   */
  budgets: z.record(z.string(), z.number().positive()),
  /** Whether the search for budgets and threads is finished for the lengths seen so far. */
  settled: z.boolean(),
  /** Items that wait for a batch. */
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

/** A model that a worker serves, with statistics. */
export const ServedModelSchema = z.object({
  ...ModelPinSchema.shape,
  /** The number of labels of the model: the maximum of `topK`. */
  labels: z.int().min(1),
  device: z.string(),
  /** Maximum number of batches in the model at a time. */
  slots: z.int().min(1),
  /** Measured while the model runs. Null before. */
  itemsPerSecond: z.number().nonnegative().nullable(),
  /** Batches since the start of the worker. */
  batches: z.int().nonnegative(),
  /** Items since the start of the worker. */
  items: z.int().nonnegative(),
  /** Items that wait for a batch or are in one, at the time of the registration. */
  held: z.int().nonnegative(),
  /** Undefined for an older worker without statistics, or a newer one with another schema for them. */
  work: ModelWorkSchema.optional().catch(undefined),
});
export type ServedModel = z.infer<typeof ServedModelSchema>;

/** The last registration of a model, which is kept longer than its workers run. */
export const LastServedSchema = z.object({
  ...ModelPinSchema.shape,
  labels: z.int().min(1),
  /** Of one worker. Null if none has measured it. */
  itemsPerSecond: z.number().positive().nullable(),
  seenAt: z.iso.datetime(),
});
export type LastServed = z.infer<typeof LastServedSchema>;

/**
 * A store that a worker waits for. It does not answer (`outage`), or it refuses requests until a user changes something
 * (`refused`).
 */
export const OutageInfoSchema = z.object({
  /** `s3://BUCKET`, or the URI of the output folder. */
  place: z.string(),
  kind: z.enum(["outage", "refused"]),
  since: z.iso.datetime(),
  nextTryAt: z.iso.datetime(),
  reason: z.string(),
  /** Labeled slices whose rows are kept in the memory of the worker. */
  kept: z.int().nonnegative(),
});
export type OutageInfo = z.infer<typeof OutageInfoSchema>;

const count = z.int().nonnegative();

/** What became of sidecars and tags since the start of the worker. */
export const DeliveryCountsSchema = z.object({
  /** `superseded`: a newer result exists. `refused`: they could not be written; the label is in the part. */
  sidecars: z.object({ written: count, superseded: count, refused: count }),
  /** `full`: the object had too many tags for both. */
  tags: z.object({ written: count, superseded: count, refused: count, full: count }),
  /** The last one that was refused. */
  lastRefused: z
    .object({
      to: z.enum(["sidecar", "tags"]),
      at: z.iso.datetime(),
      uri: z.string(),
      code: z.string(),
      message: z.string(),
    })
    .optional(),
});
export type DeliveryCounts = z.infer<typeof DeliveryCountsSchema>;

/** A worker as it registers every ten seconds. Unknown fields of newer workers are dropped. */
export const WorkerInfoSchema = z.object({
  v: z.literal(SCHEMA_VERSION),
  id: z.string().regex(/^[0-9a-f]{16}$/),
  host: z.string().max(255),
  pid: z.int().positive(),
  software: z.string(),
  startedAt: z.iso.datetime(),
  models: z.array(ServedModelSchema).min(1),
  /** Why the models run on their device. */
  deviceReason: z.string().optional(),
  /** Folders that it may open. A submission outside of the roots is refused before it is queued. */
  fileRoots: z.array(z.string()),
  /** `s3://` prefixes that it may open. */
  s3Roots: z.array(z.string()),
  /** Omitted if all stores work, and by older workers. */
  outages: z.array(OutageInfoSchema).optional().catch(undefined),
  /** Omitted before the first one, and by older workers. */
  deliveries: DeliveryCountsSchema.optional().catch(undefined),
  /** The versions of jobs that it serves. Omitted by workers that serve version 2 alone. */
  jobVersions: z.array(z.int().positive()).max(100).optional().catch(undefined),
  /** Folders and `s3://` prefixes in which it may open outputs. Default: all of its roots. */
  outputRoots: z.array(z.string()).optional(),
});
export type WorkerInfo = z.infer<typeof WorkerInfoSchema>;
