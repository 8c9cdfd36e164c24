import { z } from "zod";
import { type Item, ItemSchema } from "./item.ts";
import { JOB_VERSION, partKey, singleKey } from "./names.ts";
import { type Split, SplitSchema } from "./split.ts";
import { TaskSchema } from "./task.ts";

export const RunIdSchema = z.string().regex(/^[0-9a-f]{16}$/);
export const DigestSchema = z.string().regex(/^[0-9a-f]{64}$/);

/** The most items that one job may carry: a larger slice is hostile or a mistake. */
export const MAX_SLICE_ITEMS = 20_000;
/** Items in a slice where nothing is known of the workers' speed. */
export const DEFAULT_SLICE_ITEMS = 500;
/** The longest URI of an output, in UTF-16 code units. */
export const MAX_OUTPUT_LENGTH = 4096;
/** The most splits of one job: small files share a slice. */
export const MAX_SLICE_SPLITS = 1000;

/** Whether, and with what, a committed slice is announced on the results queue. */
export const EventsSchema = z.enum(["none", "parts", "rows"]);

/** One slice, one model, one output key: the payload of a BullMQ job. */
export const JobSchema = z
  .strictObject({
    v: z.literal(JOB_VERSION),
    run: RunIdSchema,
    slice: z.int().min(0).max(9_999_999),
    model: z.strictObject({ id: z.string().min(1).max(256), digest: DigestSchema, task: TaskSchema }),
    /** The store's URI, and the key in it that this job writes. */
    output: z.string().max(MAX_OUTPUT_LENGTH),
    key: z.string(),
    topK: z.int().min(1).max(1000),
    events: EventsSchema,
    /**
     * The job is all of its run: nothing was planned in Redis and nothing is finalized in the store. Its record is its part. For
     * submissions of one slice, from whatever language.
     */
    single: z.literal(true).optional(),
    /** The longest that a try may take, in ms. */
    timeoutMs: z.int().min(1000).max(86_400_000).optional(),
    /** What the items' `source` counts. */
    sources: z.array(z.string().max(8192)).min(1).max(MAX_SLICE_ITEMS).optional(),
    items: z.array(ItemSchema).min(1).max(MAX_SLICE_ITEMS).optional(),
    /** In the place of items: where the worker reads them. */
    splits: z.array(SplitSchema).min(1).max(MAX_SLICE_SPLITS).optional(),
  })
  .refine(
    (job) =>
      (job.single ? [singleKey(job.run)] : [false, true].map((apart) => partKey(job.run, job.slice, apart))).includes(
        job.key,
      ),
    {
      path: ["key"],
      message: "expected the key of this run and slice: single-RUN.jsonl of a single, else part-SLICE-RUN.jsonl",
    },
  )
  .refine((job) => !job.single || job.slice === 0, { path: ["slice"], message: "expected 0: a single is one slice" })
  .refine((job) => (job.items === undefined) === (job.sources === undefined), {
    path: ["sources"],
    message: "expected sources beside items, and none without",
  })
  .refine((job) => (job.items === undefined) !== (job.splits === undefined), {
    path: ["items"],
    message: "expected items or splits, one of the two",
  })
  .refine((job) => !job.items || job.items.every((item) => item.source < job.sources!.length), {
    path: ["items"],
    message: "expected each item's source to be an index into sources",
  })
  .refine((job) => itemsIn(job) <= MAX_SLICE_ITEMS, { path: ["splits"], message: `at most ${MAX_SLICE_ITEMS} items` });
export type Job = z.infer<typeof JobSchema>;

/** Items that a job carries, or that its splits address. */
export function itemsIn({ items, splits = [] }: { items?: readonly Item[]; splits?: readonly Split[] }): number {
  return items?.length ?? splits.reduce((sum, { count, selected = count }) => sum + selected, 0);
}

/** The payload of a job on the plans' queue: all else stands in the run's file. */
export const PlanJobSchema = z.strictObject({
  v: z.literal(JOB_VERSION),
  run: RunIdSchema,
  output: z.string().max(MAX_OUTPUT_LENGTH),
});
export type PlanJob = z.infer<typeof PlanJobSchema>;

/** The payload of a job on the runs' queue that makes the output files of consecutive slices. */
export const CompactJobSchema = z.strictObject({
  v: z.literal(JOB_VERSION),
  run: RunIdSchema,
  output: z.string().max(MAX_OUTPUT_LENGTH),
  /** Number of the range, from 0, among those that the run's parts are cut into. */
  range: z.int().nonnegative(),
  first: z.int().nonnegative(),
  last: z.int().nonnegative(),
});
export type CompactJob = z.infer<typeof CompactJobSchema>;

/** The payload of a job on the runs' queue. */
export const FinalizeJobSchema = z.strictObject({
  v: z.literal(JOB_VERSION),
  run: RunIdSchema,
  output: z.string().max(MAX_OUTPUT_LENGTH),
});
export type FinalizeJob = z.infer<typeof FinalizeJobSchema>;
