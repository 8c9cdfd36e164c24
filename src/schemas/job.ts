import { z } from "zod";
import { ItemSchema } from "./item.ts";
import { partKey, SCHEMA_VERSION, singleKey } from "./names.ts";

export const RunIdSchema = z.string().regex(/^[0-9a-f]{16}$/);
export const DigestSchema = z.string().regex(/^[0-9a-f]{64}$/);
export const TaskSchema = z.enum(["text-classification", "image-classification"]);
export type Task = z.infer<typeof TaskSchema>;

/** The most items that one job may carry: a larger slice is hostile or a mistake. */
export const MAX_SLICE_ITEMS = 20_000;

/** Whether, and with what, a committed slice is announced on the results queue. */
export const EventsSchema = z.enum(["none", "parts", "rows"]);

/** One slice, one model, one output key: the payload of a BullMQ job. */
export const JobSchema = z
  .strictObject({
    v: z.literal(SCHEMA_VERSION),
    run: RunIdSchema,
    slice: z.int().min(0).max(9_999_999),
    model: z.strictObject({ id: z.string().min(1).max(256), digest: DigestSchema, task: TaskSchema }),
    /** The store's URI, and the key in it that this job writes. */
    output: z.string().max(4096),
    key: z.string(),
    topK: z.int().min(1).max(1000),
    events: EventsSchema,
    /**
     * The job is all of its run: nothing was planned in Redis and nothing is finalized in the store. Its record is its part. For
     * submissions of one slice, from whatever language.
     */
    single: z.literal(true).optional(),
    /** What the items' `source` counts. */
    sources: z.array(z.string().max(8192)).min(1).max(MAX_SLICE_ITEMS),
    items: z.array(ItemSchema).min(1).max(MAX_SLICE_ITEMS),
  })
  .refine((job) => job.key === (job.single ? singleKey(job.run) : partKey(job.run, job.slice)), {
    path: ["key"],
    message: "the key of this run and slice",
  })
  .refine((job) => !job.single || job.slice === 0, { path: ["slice"], message: "a single job is slice 0" })
  .refine((job) => job.items.every((item) => item.source < job.sources.length), {
    path: ["items"],
    message: "every item's source is one of the job's sources",
  });
export type Job = z.infer<typeof JobSchema>;

/** The payload of a job on the runs' queue. */
export const FinalizeJobSchema = z.strictObject({
  v: z.literal(SCHEMA_VERSION),
  run: RunIdSchema,
  output: z.string().max(4096),
});
export type FinalizeJob = z.infer<typeof FinalizeJobSchema>;
