import { z } from "zod";
import { WebhookTargetSchema } from "./enrichment/target.ts";
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

/**
 * Everything that decides the content of the rows and their division into slices. A run can be continued only with an
 * equal spec.
 */
export const SpecSchema = z.strictObject({
  model: ModelPinSchema,
  read: ReadOptionsSchema,
  topK: z.int().min(1).max(1000),
  sliceItems: z.int().min(1).max(MAX_SLICE_ITEMS),
  sliceBytes: z.int().min(1024).max(64_000_000),
  events: EventsSchema,
  /** The share of the records that are items of the run, chosen by a hash of URI and record number. Default: all. */
  sample: z.number().positive().lt(1).optional(),
  /** Maximum number of items of the run: the first ones. */
  limit: z.int().positive().optional(),
  output: OutputOptionsSchema.default(PLAIN_OUTPUT),
});
export type Spec = z.infer<typeof SpecSchema>;

/** An input of a run, and how it is read. */
export const RunInputSchema = InputSchema.extend({
  read: ReadOptionsSchema.pick({ format: true, delimiter: true, column: true }),
  /** The absolute path, pattern or URI by which it was opened. A planner that plans the run again opens it by this. */
  from: z.string().optional(),
  /** `split`: workers read the input. `inline`: its items are in the jobs. */
  travels: z.enum(["split", "inline"]).default("inline"),
  /**
   * For an archive: each image is a record. Older versions had other records and no such field, so their runs cannot be
   * continued.
   */
  members: z.literal("images").optional(),
  /** The beginning of made ids, before `#`, if it does not follow from the input alone. Omitted by older versions. */
  idName: z.string().max(16_384).optional(),
  /** The types of the kept columns that the input declares. */
  columns: dataRecord(ColumnTypeSchema).optional(),
});
export type RunInput = z.infer<typeof RunInputSchema>;

/** How a run is executed. This does not affect the rows, so a command that continues a run may have other settings. */
export const RunSettingsSchema = z.strictObject({
  lane: z.enum(LANES).default("bulk"),
  /** The run is stopped if it has more rows in error: a count, or a share in percent. */
  maxErrors: z
    .string()
    .regex(/^(\d{1,15}|\d{1,2}(\.\d{1,6})?%|100%)$/, "expected a number of rows, or a share such as 5%")
    .optional(),
  /** Maximum duration of an attempt of a slice, in ms. */
  sliceTimeoutMs: z.int().min(1000).max(86_400_000).optional(),
  /** The price of a worker per hour, in any currency, for the manifest. */
  pricePerHour: z.number().nonnegative().max(1e9).optional(),
  /** The webhooks that get the end of the run. */
  results: z.array(WebhookTargetSchema).max(10).optional(),
});
export type RunSettings = z.infer<typeof RunSettingsSchema>;

/** `_run.json`: written before anything is queued. Only its settings can change later. */
export const RunFileSchema = z.strictObject({
  schemaVersion: z.literal(SCHEMA_VERSION),
  run: RunIdSchema,
  createdAt: z.iso.datetime(),
  software: z.string(),
  spec: SpecSchema,
  settings: RunSettingsSchema.default({ lane: "bulk" }),
  /**
   * The run is a retry of the rows in error of this run. Its output is within that of this run, in `_retries/RETRY/`.
   */
  retryOf: z.strictObject({ run: RunIdSchema, retry: z.int().positive() }).optional(),
  inputs: z.array(RunInputSchema).min(1),
  /** The run was only in the embedded Redis server of its command, which ended with the command. */
  embedded: z.literal(true).optional(),
  /** What was skipped when the inputs were listed and opened, without what was skipped while they were planned. */
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
