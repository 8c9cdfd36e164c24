import { z } from "zod";
import { ColumnTypeSchema, InputSchema, PassedOverSchema } from "./input.ts";
import { dataRecord } from "./item.ts";
import { RunIdSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";
import { ModelPinSchema, RunSettingsSchema, RunStateSchema, SpecSchema } from "./run.ts";

const Sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);

/** Consecutive records of one input: `count` records from number `first` on. `input` counts the inputs of `_run.json`. */
export const RangeSchema = z.strictObject({
  input: z.int().nonnegative(),
  first: z.int().nonnegative(),
  count: z.int().positive(),
  /** How many of them are items of the run, where not all are. */
  selected: z.int().nonnegative().optional(),
});
export type Range = z.infer<typeof RangeSchema>;

/** What is known of a committed slice: the part as it was read or written, in bytes. */
export const ReceiptSchema = z.strictObject({
  rows: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  sha256: Sha256Schema,
});
export type Receipt = z.infer<typeof ReceiptSchema>;

/** A line of `_parts.jsonl`. `planned` is the planner's count and its ranges, never the writer's. */
export const PartLineSchema = z.strictObject({
  slice: z.int().nonnegative(),
  key: z.string(),
  planned: z.array(RangeSchema).min(1),
  ...ReceiptSchema.shape,
});
export type PartLine = z.infer<typeof PartLineSchema>;

/** A line of `_files.jsonl`: a file made of the parts of slices `first` to `last`, its rows in their order. */
export const FileLineSchema = z.strictObject({
  key: z.string(),
  range: z.int().nonnegative(),
  first: z.int().nonnegative(),
  last: z.int().nonnegative(),
  rows: z.int().positive(),
  bytes: z.int().nonnegative(),
  sha256: Sha256Schema,
  /** The label of its rows, where they were partitioned by it; null: rows in error, which have none. */
  partition: z.string().nullable().optional(),
  /** Its rows are those in error, which were asked for apart. */
  errors: z.literal(true).optional(),
});
export type FileLine = z.infer<typeof FileLineSchema>;

export const FailedSliceSchema = z.strictObject({
  slice: z.int().nonnegative(),
  planned: z.array(RangeSchema).min(1),
  code: z.string(),
  message: z.string(),
});
export type FailedSlice = z.infer<typeof FailedSliceSchema>;

/** Rows in error that were labeled once more: those of `_retries/RETRY/` supersede the rows of the same records, here and in retries before it. */
export const RetrySchema = z.strictObject({
  retry: z.int().positive(),
  run: RunIdSchema,
  /** Rows that it supersedes: all that were in error. */
  superseded: z.int().nonnegative(),
  labeled: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  /** Of its `_parts.jsonl`, whose ranges say which records these are. */
  partsSha256: Sha256Schema,
});
export type RetryOf = z.infer<typeof RetrySchema>;

/** `_manifest.json`: what a run came to. `partsSha256` ties `_parts.jsonl` to it, and that ties every part. */
export const ManifestSchema = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  run: RunIdSchema,
  state: RunStateSchema,
  software: z.string(),
  model: ModelPinSchema,
  /** Where the model ran (`cpu`, `cuda:0`), and why there, as far as it is known; older versions did not tell. */
  devices: z.record(z.string(), z.string()).optional(),
  createdAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  /** Each input, with the records that the planner counted in it. */
  inputs: z.array(InputSchema.extend({ records: z.int().nonnegative() })),
  totals: z.strictObject({
    slices: z.int().nonnegative(),
    planned: z.int().nonnegative(),
    labeled: z.int().nonnegative(),
    errors: z.int().nonnegative(),
    bytes: z.int().nonnegative(),
  }),
  labels: dataRecord(z.int().nonnegative()),
  errorCodes: dataRecord(z.int().nonnegative()),
  /** Slices that failed for good, the first hundred of them. */
  failed: z.array(FailedSliceSchema).max(100),
  failedSlices: z.int().nonnegative(),
  /** Why the run failed: the first of those failures. Older versions did not tell. */
  failure: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  partsSha256: Sha256Schema,
  /** Of `_files.jsonl`, where files were made of the parts. */
  filesSha256: Sha256Schema.optional(),
  /** What the kept columns are in them, where they are Parquet. */
  columns: dataRecord(ColumnTypeSchema).optional(),
  files: z.strictObject({ count: z.int(), rows: z.int(), bytes: z.int() }).optional(),
  /** What decided how the rows were made; older versions did not tell, nor the following. */
  settings: SpecSchema.omit({ model: true }).extend(RunSettingsSchema.partial().shape).optional(),
  /** `seconds` by the clock, from the run's creation to its end; `inferSeconds` that its rows kept devices busy. */
  timings: z.strictObject({ seconds: z.number().nonnegative(), inferSeconds: z.number().nonnegative() }).optional(),
  /** The price per hour × `timings.seconds`, of one worker: the run's time by the clock, pauses included. In the price's currency. */
  cost: z
    .strictObject({ pricePerHour: z.number(), total: z.number(), perMillionItems: z.number().nullable() })
    .optional(),
  retries: z.array(RetrySchema).optional(),
  /** Files, objects and members of archives that the inputs cover and that were not read; older versions did not tell. */
  passedOver: PassedOverSchema.optional(),
  /** False where the store cannot refuse a second write: the hashes then hold only while no worker outlives its lock. */
  conditionalWrites: z.boolean(),
});
export type Manifest = z.infer<typeof ManifestSchema>;

/** Items of the run among the records of these ranges. */
export function selectedIn(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { count, selected = count }) => sum + selected, 0);
}
