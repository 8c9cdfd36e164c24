import { z } from "zod";
import { InputSchema } from "./input.ts";
import { RunIdSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";
import { ModelPinSchema, RunStateSchema } from "./run.ts";

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

export const FailedSliceSchema = z.strictObject({
  slice: z.int().nonnegative(),
  planned: z.array(RangeSchema).min(1),
  code: z.string(),
  message: z.string(),
});
export type FailedSlice = z.infer<typeof FailedSliceSchema>;

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
  labels: z.record(z.string(), z.int().nonnegative()),
  errorCodes: z.record(z.string(), z.int().nonnegative()),
  /** Slices that failed for good, the first hundred of them. */
  failed: z.array(FailedSliceSchema).max(100),
  failedSlices: z.int().nonnegative(),
  partsSha256: Sha256Schema,
  /** False where the store cannot refuse a second write: the hashes then hold only while no worker outlives its lock. */
  conditionalWrites: z.boolean(),
});
export type Manifest = z.infer<typeof ManifestSchema>;

/** Items of the run among the records of these ranges. */
export function selectedIn(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { count, selected = count }) => sum + selected, 0);
}
