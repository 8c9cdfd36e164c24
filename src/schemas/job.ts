import { z } from "zod";
import { type ResultTarget, ResultTargetsSchema } from "./enrichment/target.ts";
import { type Item, ItemSchema } from "./item.ts";
import { partKey, SERVED_JOB_VERSIONS, singleKey } from "./names.ts";
import { type Split, SplitSchema } from "./split.ts";
import { TaskSchema } from "./task.ts";

export const RunIdSchema = z.string().regex(/^[0-9a-f]{16}$/);
export const DigestSchema = z.string().regex(/^[0-9a-f]{64}$/);

/** Maximum number of items in a job. A larger slice is hostile or a mistake. */
export const MAX_SLICE_ITEMS = 20_000;
/** Items in a slice if the speed of the workers is unknown. */
export const DEFAULT_SLICE_ITEMS = 500;
/** Labels in a row, for the command and the library. */
export const DEFAULT_TOP_K = 5;
/** How long a submission waits for room in a Redis that is out of memory, in ms, for the command and the library. */
export const DEFAULT_FULL_MS = 60_000;
/** Maximum length of the URI of an output, in UTF-16 code units. */
export const MAX_OUTPUT_LENGTH = 4096;
/** Maximum number of splits in a job. Small files share a slice. */
export const MAX_SLICE_SPLITS = 1000;

/** What is published on the results queue when a slice ends: nothing, an event, or an event with its rows. */
export const EventsSchema = z.enum(["none", "parts", "rows"]);

/** Maximum number of text files in a job: their texts are in the memory of the worker together. */
export const MAX_TEXT_FILES = 100;

/** The payload of a BullMQ job: one slice, one model, one output key. */
export const JobSchema = z
  .strictObject({
    v: z.literal(SERVED_JOB_VERSIONS),
    run: RunIdSchema,
    slice: z.int().min(0).max(9_999_999),
    model: z.strictObject({ id: z.string().min(1).max(256), digest: DigestSchema, task: TaskSchema }),
    /** The URI of the store. */
    output: z.string().max(MAX_OUTPUT_LENGTH),
    /** The key in the store that this job writes. */
    key: z.string(),
    topK: z.int().min(1).max(1000),
    events: EventsSchema,
    /**
     * The job is its whole run. It has no plan in Redis and no manifest: its part is its record. Used for submissions
     * of one slice, from any programming language.
     */
    single: z.literal(true).optional(),
    /** Where results of a single go, besides its part and the results queue. Not in a job of version 2. */
    results: ResultTargetsSchema.optional(),
    /** Maximum duration of an attempt, in ms. */
    timeoutMs: z.int().min(1000).max(86_400_000).optional(),
    /** URIs. The `source` of an item is an index into them. */
    sources: z.array(z.string().max(8192)).min(1).max(MAX_SLICE_ITEMS).optional(),
    items: z.array(ItemSchema).min(1).max(MAX_SLICE_ITEMS).optional(),
    /** Instead of items: where the worker reads them. */
    splits: z.array(SplitSchema).min(1).max(MAX_SLICE_SPLITS).optional(),
  })
  .refine(
    (job) =>
      (job.single ? [singleKey(job.run)] : [false, true].map((apart) => partKey(job.run, job.slice, apart))).includes(
        job.key,
      ),
    {
      path: ["key"],
      message: "expected the key of this run and slice: single-RUN.jsonl for a single, otherwise part-SLICE-RUN.jsonl",
    },
  )
  .refine((job) => !job.single || job.slice === 0, { path: ["slice"], message: "expected 0: a single is one slice" })
  .refine((job) => job.v > 2 || !(job.results || job.items?.some(({ object, textFile }) => object || textFile)), {
    path: ["v"],
    message: "expected 3 for a job with results, textFile or object",
  })
  .refine(({ items = [] }) => items.filter((item) => item.textFile !== undefined).length <= MAX_TEXT_FILES, {
    path: ["items"],
    message: `expected at most ${MAX_TEXT_FILES} items with textFile`,
  })
  .refine((job) => !job.results?.length || job.single, {
    path: ["results"],
    message: "expected no results: only a single has them",
  })
  .refine(({ results = [], items = [] }) => results.every((target) => items.every((item) => canGoTo(target, item))), {
    path: ["results"],
    message: "expected sidecars only for items at s3: or file: URLs, and tags only for items at s3: URLs",
  })
  .refine((job) => (job.items === undefined) === (job.sources === undefined), {
    path: ["sources"],
    message: "expected sources together with items, and no sources without items",
  })
  .refine((job) => (job.items === undefined) !== (job.splits === undefined), {
    path: ["items"],
    message: "expected either items or splits",
  })
  .refine((job) => !job.items || job.items.every((item) => item.source < job.sources!.length), {
    path: ["items"],
    message: "expected each item's source to be an index into sources",
  })
  .refine((job) => itemsIn(job) <= MAX_SLICE_ITEMS, {
    path: ["splits"],
    message: `expected at most ${MAX_SLICE_ITEMS} items`,
  });
export type Job = z.infer<typeof JobSchema>;

/** Whether an item has an object that the target writes to or beside. */
function canGoTo({ to }: ResultTarget, { image, textFile, error }: Item): boolean {
  if (to === "webhook" || error) return true;
  return (to === "tags" ? /^s3:/i : /^(s3|file):/i).test(image ?? textFile ?? "");
}

/** The number of items in a job or in its splits. */
export function itemsIn({ items, splits = [] }: { items?: readonly Item[]; splits?: readonly Split[] }): number {
  return items?.length ?? splits.reduce((sum, { count, selected = count }) => sum + selected, 0);
}

/** The payload of a job on the plans queue. Everything else is in the run file. */
export const PlanJobSchema = z.strictObject({
  v: z.literal(SERVED_JOB_VERSIONS),
  run: RunIdSchema,
  output: z.string().max(MAX_OUTPUT_LENGTH),
});
export type PlanJob = z.infer<typeof PlanJobSchema>;

/** The payload of a job on the runs queue that makes the output files of consecutive slices. */
export const CompactJobSchema = z.strictObject({
  v: z.literal(SERVED_JOB_VERSIONS),
  run: RunIdSchema,
  output: z.string().max(MAX_OUTPUT_LENGTH),
  /** The number of the range of slices, from 0. */
  range: z.int().nonnegative(),
  /** The first slice and the last one. */
  first: z.int().nonnegative(),
  last: z.int().nonnegative(),
});
export type CompactJob = z.infer<typeof CompactJobSchema>;

/** The payload of a job on the runs queue that closes a run. */
export const FinalizeJobSchema = z.strictObject({
  v: z.literal(SERVED_JOB_VERSIONS),
  run: RunIdSchema,
  output: z.string().max(MAX_OUTPUT_LENGTH),
});
export type FinalizeJob = z.infer<typeof FinalizeJobSchema>;
