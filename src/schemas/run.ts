import { z } from "zod";
import { DigestSchema, EventsSchema, MAX_SLICE_ITEMS, RunIdSchema, TaskSchema } from "./job.ts";
import { SCHEMA_VERSION } from "./names.ts";

export const ModelPinSchema = z.strictObject({
  id: z.string().min(1).max(256),
  revision: z.string(),
  digest: DigestSchema,
  dtype: z.string(),
  task: TaskSchema,
});
export type ModelPin = z.infer<typeof ModelPinSchema>;

/** How the inputs are read. Null means: found by looking (delimiter), or none. */
export const ReadOptionsSchema = z.strictObject({
  format: z.enum(["auto", "csv", "jsonl", "lines"]),
  delimiter: z.string().length(1).nullable(),
  /** The column of the text, or of the image reference. */
  column: z.string().nullable(),
  idColumn: z.string().nullable(),
  keep: z.array(z.string()),
});
export type ReadOptions = z.infer<typeof ReadOptionsSchema>;

/** All that decides what the rows of a run will say and how they are cut. Two runs on one output must agree on it. */
export const SpecSchema = z.strictObject({
  model: ModelPinSchema,
  read: ReadOptionsSchema,
  topK: z.int().min(1).max(1000),
  sliceItems: z.int().min(1).max(MAX_SLICE_ITEMS),
  sliceBytes: z.int().min(1024).max(64_000_000),
  events: EventsSchema,
});
export type Spec = z.infer<typeof SpecSchema>;

/**
 * What an input was when the run was planned. `hash` is of its ends (a file) or its listing (a folder, a prefix of S3), or it is
 * `etag:` and the ETag (an object of S3).
 */
export const InputSchema = z.strictObject({
  uri: z.string(),
  /** Bytes of a file or object, files of a folder or prefix; null where it cannot be known (standard input, a URL). */
  size: z.int().nonnegative().nullable(),
  modifiedAt: z.iso.datetime().nullable(),
  hash: z.string().nullable(),
});
export type Input = z.infer<typeof InputSchema>;

/** An input of a run, with what was found of how it is read. */
export const RunInputSchema = InputSchema.extend({
  read: ReadOptionsSchema.pick({ format: true, delimiter: true, column: true }),
});
export type RunInput = z.infer<typeof RunInputSchema>;

/** `_run.json`: written once, before anything is queued. */
export const RunFileSchema = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  run: RunIdSchema,
  createdAt: z.iso.datetime(),
  software: z.string(),
  spec: SpecSchema,
  inputs: z.array(RunInputSchema).min(1),
});
export type RunFile = z.infer<typeof RunFileSchema>;

export const RUN_STATES = [
  "planning",
  "running",
  "finalizing",
  "succeeded",
  "finished_with_errors",
  "failed",
  "cancelled",
] as const;
export const RunStateSchema = z.enum(RUN_STATES);
export type RunState = z.infer<typeof RunStateSchema>;
