import { z } from "zod";
import { ColumnTypeSchema, InputSchema, PassedOverSchema, ReadOptionsSchema } from "./input.ts";
import { dataRecord } from "./item.ts";
import { DigestSchema, EventsSchema, MAX_SLICE_ITEMS, RunIdSchema } from "./job.ts";
import { LANES, SCHEMA_VERSION } from "./names.ts";
import { OutputOptionsSchema, PLAIN_OUTPUT } from "./output.ts";
import { TaskSchema } from "./task.ts";

export const ModelPinSchema = z.strictObject({
  /** The id of the model, from 1 to 256 characters. */
  id: z.string().min(1).max(256),
  /** The revision of the model's repository, or what its folder is named by. */
  revision: z.string(),
  /**
   * The digest of all that decides its labels: 64 hexadecimal digits. `labelmill models --json`
   * prints it.
   */
  digest: DigestSchema,
  /** The precision of its weights, such as `fp32`. */
  dtype: z.string(),
  /** The task of the model. */
  task: TaskSchema,
});
/**
 * One exact version of a model.
 *
 * @interface
 */
export type ModelPin = z.infer<typeof ModelPinSchema>;

/** All that decides what the rows of a run will say and how they are cut. Two runs on one output must agree on it. */
export const SpecSchema = z.strictObject({
  model: ModelPinSchema,
  read: ReadOptionsSchema,
  topK: z.int().min(1).max(1000),
  sliceItems: z.int().min(1).max(MAX_SLICE_ITEMS),
  sliceBytes: z.int().min(1024).max(64_000_000),
  events: EventsSchema,
  /** The share of the records that are items of the run, by a hash of URI and record number; none: all. */
  sample: z.number().positive().lt(1).optional(),
  /** Items of the run, at most: the first ones. */
  limit: z.int().positive().optional(),
  output: OutputOptionsSchema.default(PLAIN_OUTPUT),
});
export type Spec = z.infer<typeof SpecSchema>;

/** An input of a run, with what was found of how it is read. */
export const RunInputSchema = InputSchema.extend({
  read: ReadOptionsSchema.pick({ format: true, delimiter: true, column: true }),
  /** What it was opened by: an absolute path, a pattern or a URI. Whoever plans the run again opens it by that. */
  from: z.string().optional(),
  /** Workers read the input themselves (splits), or its items travel in the jobs. */
  travels: z.enum(["split", "inline"]).default("inline"),
  /** Of an archive: each image is a record. In older run files other members were, so their runs cannot be gone on with. */
  members: z.literal("images").optional(),
  /** What made ids begin with, before `#`, where it is not what the input alone says: in older run files it never is. */
  idName: z.string().max(16_384).optional(),
  /** What the kept columns hold, as far as the input says. */
  columns: dataRecord(ColumnTypeSchema).optional(),
});
export type RunInput = z.infer<typeof RunInputSchema>;

/** How a run is to be done: nothing of it changes what the rows say, so the command that takes a run up again may say otherwise. */
export const RunSettingsSchema = z.strictObject({
  lane: z.enum(LANES).default("bulk"),
  /** Rows in error at which the run is stopped: a count, or a share in percent. */
  maxErrors: z
    .string()
    .regex(/^(\d{1,15}|\d{1,2}(\.\d{1,6})?%|100%)$/, "expected a number of rows, or a share such as 5%")
    .optional(),
  /** The longest that one try of a slice may take, in ms. */
  sliceTimeoutMs: z.int().min(1000).max(86_400_000).optional(),
  /** What a worker costs, in whatever currency, for the manifest. */
  pricePerHour: z.number().nonnegative().max(1e9).optional(),
});
export type RunSettings = z.infer<typeof RunSettingsSchema>;

/** `_run.json`: written before anything is queued, and, but for its settings, once. */
export const RunFileSchema = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  run: RunIdSchema,
  createdAt: z.iso.datetime(),
  software: z.string(),
  spec: SpecSchema,
  settings: RunSettingsSchema.default({ lane: "bulk" }),
  /** The rows in error of this run, and of nothing else, are labeled once more: its output holds this one's, in `_retries/RETRY/`. */
  retryOf: z.strictObject({ run: RunIdSchema, retry: z.int().positive() }).optional(),
  inputs: z.array(RunInputSchema).min(1),
  /** The run is known to no Redis server but that of the command that made it, which ended with the command. */
  embedded: z.literal(true).optional(),
  /** What was passed over when the inputs were listed and opened; what is found while they are planned is not in it. */
  passedOver: PassedOverSchema.optional(),
});
export type RunFile = z.infer<typeof RunFileSchema>;

export const RUN_STATES = [
  "planning",
  "running",
  "paused",
  "finalizing",
  "succeeded",
  "finished_with_errors",
  "failed",
  "cancelled",
] as const;
export const RunStateSchema = z.enum(RUN_STATES);
export type RunState = z.infer<typeof RunStateSchema>;
