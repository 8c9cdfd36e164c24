import { z } from "zod";
import { ColumnTypeSchema, InputSchema, PassedOverSchema } from "./input.ts";
import { dataRecord } from "./item.ts";
import { RunIdSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";
import { ModelPinSchema, RunSettingsSchema, RunStateSchema, SpecSchema } from "./run.ts";

const Sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);

/** Consecutive records of one input: `count` records from number `first` on. */
export const RangeSchema = z.strictObject({
  /** Index into the inputs of `_run.json`. */
  input: z.int().nonnegative(),
  first: z.int().nonnegative(),
  count: z.int().positive(),
  /** The number of items of the run among them. If omitted, all are. */
  selected: z.int().nonnegative().optional(),
});
export type Range = z.infer<typeof RangeSchema>;

/** The sums of a committed part. */
export const ReceiptSchema = z.strictObject({
  rows: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  sha256: Sha256Schema,
});
export type Receipt = z.infer<typeof ReceiptSchema>;

/** A line of `_parts.jsonl`. */
export const PartLineSchema = z.strictObject({
  slice: z.int().nonnegative(),
  key: z.string(),
  /** As the planner counted them, not the worker that wrote the part. */
  planned: z.array(RangeSchema).min(1),
  ...ReceiptSchema.shape,
});
export type PartLine = z.infer<typeof PartLineSchema>;

/**
 * A line of `_files.jsonl`: a file made of the parts of slices `first` to `last`, with rows in the order of the parts.
 */
export const FileLineSchema = z.strictObject({
  key: z.string(),
  /** The number of the range of slices, from 0. */
  range: z.int().nonnegative(),
  first: z.int().nonnegative(),
  last: z.int().nonnegative(),
  rows: z.int().positive(),
  bytes: z.int().nonnegative(),
  sha256: Sha256Schema,
  /** The label of its rows, if the run is partitioned by label. Null for rows in error. */
  partition: z.string().nullable().optional(),
  /** It has the rows in error, if the run has separate files for them. */
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

/**
 * A retry of the rows in error. The rows in `_retries/RETRY/` supersede those of the same records in the run and in
 * earlier retries.
 */
export const RetrySchema = z.strictObject({
  retry: z.int().positive(),
  run: RunIdSchema,
  /** The number of superseded rows: all that were in error. */
  superseded: z.int().nonnegative(),
  labeled: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  /** The hash of its `_parts.jsonl`, whose ranges are the superseded records. */
  partsSha256: Sha256Schema,
});
export type RetryOf = z.infer<typeof RetrySchema>;

/** `_manifest.json`: the result of a run. It has the hash of `_parts.jsonl`, which has the hash of every part. */
export const ManifestSchema = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  run: RunIdSchema,
  state: RunStateSchema,
  software: z.string(),
  model: ModelPinSchema,
  /** The devices on which the model ran (`cpu`, `cuda:0`), with the reason for each. Omitted by older versions. */
  devices: z.record(z.string(), z.string()).optional(),
  createdAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  /** The inputs, each with the number of records that the planner counted. */
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
  /** The first hundred slices that failed permanently. */
  failed: z.array(FailedSliceSchema).max(100),
  failedSlices: z.int().nonnegative(),
  /** Why the run failed: the first of those failures. Omitted by older versions. */
  failure: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  partsSha256: Sha256Schema,
  /** The hash of `_files.jsonl`, if files were made of the parts. */
  filesSha256: Sha256Schema.optional(),
  /** The types of the kept columns in these files, if they are Parquet. */
  columns: dataRecord(ColumnTypeSchema).optional(),
  files: z.strictObject({ count: z.int(), rows: z.int(), bytes: z.int() }).optional(),
  /** The spec and settings of the run. This and the following are omitted by older versions. */
  settings: SpecSchema.omit({ model: true }).extend(RunSettingsSchema.partial().shape).optional(),
  /**
   * `seconds`: elapsed time from the creation of the run to its end. `inferSeconds`: time for which it kept devices
   * busy.
   */
  timings: z.strictObject({ seconds: z.number().nonnegative(), inferSeconds: z.number().nonnegative() }).optional(),
  /** The price of one worker per hour × `timings.seconds`, pauses included, in the currency of the price. */
  cost: z
    .strictObject({ pricePerHour: z.number(), total: z.number(), perMillionItems: z.number().nullable() })
    .optional(),
  retries: z.array(RetrySchema).optional(),
  /** Files, objects and archive members that were skipped. Omitted by older versions. */
  passedOver: PassedOverSchema.optional(),
  /** False if the store cannot refuse a second write. Then a worker that outlives its lock may replace a part. */
  conditionalWrites: z.boolean(),
});
export type Manifest = z.infer<typeof ManifestSchema>;

/** The number of items of the run in these ranges. */
export function selectedIn(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { count, selected = count }) => sum + selected, 0);
}
