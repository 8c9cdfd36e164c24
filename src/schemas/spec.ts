import { z } from "zod";
import { DTYPES } from "./dtype.ts";
import { EventsSchema, MAX_SLICE_ITEMS } from "./job.ts";
import { LANES } from "./names.ts";
import { OutputOptionsSchema } from "./output.ts";
import { RunSettingsSchema } from "./run.ts";

/** The share of a percentage, or a count, of rows in error. */
const maxErrors = z
  .union([z.number().int().nonnegative().transform(String), z.string()])
  .pipe(RunSettingsSchema.shape.maxErrors.unwrap());

/** `column=value`: rows whose column holds something else are left out. */
const where = z
  .string()
  .regex(/^[^=]+=/, "expected column=value, such as lang=en")
  .transform((text) => ({ column: text.slice(0, text.indexOf("=")), value: text.slice(text.indexOf("=") + 1) }));

/**
 * A run as its user writes it down, in YAML or JSON; the flags of `labelmill label` and `run submit` say the same by the same names and
 * go over it. Keys, what they mean and their bounds: docs/runs.md, which is made of this.
 */
export const RunSpecSchema = z.strictObject({
  kind: z.enum(["text", "images"]).describe("What is labeled: `text` or `images`."),
  inputs: z
    .array(z.string().min(1))
    .min(1)
    .max(100_000)
    .describe(
      "Files, folders, globs, `s3://` objects and prefixes, `@LIST`s. Paths are relative to the working folder.",
    ),
  out: z.string().min(1).optional().describe("A folder or `s3://BUCKET/PREFIX/` for the results."),
  model: z
    .string()
    .min(1)
    .optional()
    .describe("Of the catalog, `hf:OWNER/NAME@REVISION`, a folder, or what the workers serve."),
  dtype: z
    .enum(["auto", ...DTYPES])
    .optional()
    .describe("Precision of the model."),
  format: z
    .enum(["auto", "csv", "jsonl", "json", "lines", "parquet", "arrow", "tar"])
    .default("auto")
    .describe("Of the inputs; `auto` finds it by looking."),
  delimiter: z.string().length(1).optional().describe("Of CSV."),
  column: z.string().optional().describe("The column that holds the text or the image reference."),
  idColumn: z.string().optional().describe("The column that holds the id."),
  keep: z.array(z.string()).default([]).describe("Columns to copy into the rows."),
  where: z.array(where).max(100).default([]).describe("`column=value`: only rows for which all of them hold."),
  sample: z.number().gt(0).lt(1).optional().describe("The share of the rows to label, the same ones each time."),
  limit: z.number().int().min(1).optional().describe("Rows to label at most: the first ones."),
  topK: z.number().int().min(1).max(1000).default(5).describe("Labels in a row, best first."),
  output: OutputOptionsSchema.prefault({}).describe(
    "`format` (`jsonl`, `parquet`), `compression` (`none`, `gzip`, `zstd`), `targetBytes`, `partitionBy` (`label`), `errors` (`inline`, `apart`).",
  ),
  lane: z.enum(LANES).default("bulk").describe("`interactive` goes first, `bulk` keeps at least a fifth."),
  events: EventsSchema.optional().describe("What the results queue is told."),
  sliceItems: z.number().int().min(1).max(MAX_SLICE_ITEMS).optional().describe("Items in a slice."),
  sliceBytes: z.number().int().min(1024).max(64_000_000).optional().describe("Bytes in a slice."),
  maxErrors: maxErrors
    .optional()
    .describe("Rows in error at which the run is stopped when there are more: a count, or a share such as `5%`."),
  sliceTimeout: z.number().min(1).max(86_400).optional().describe("Seconds that one try of a slice may take."),
  pricePerHour: z
    .number()
    .nonnegative()
    .max(1e9)
    .optional()
    .describe("What a worker costs: the manifest then says what the run did."),
});
export type RunSpec = z.infer<typeof RunSpecSchema>;
