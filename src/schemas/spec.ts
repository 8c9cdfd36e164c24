import { z } from "zod";
import { DTYPES } from "./dtype.ts";
import { DEFAULT_TOP_K, EventsSchema, MAX_SLICE_ITEMS } from "./job.ts";
import { LANES } from "./names.ts";
import { COMPRESSIONS, OUTPUT_FORMATS, OutputOptionsSchema } from "./output.ts";
import { RunSettingsSchema } from "./run.ts";

/** A count, or a percentage such as `5%`. */
const maxErrors = z
  .union([z.number().int().nonnegative().transform(String), z.string()])
  .pipe(RunSettingsSchema.shape.maxErrors.unwrap());

/** `column=value`: only records with this value in this column. */
const where = z
  .string()
  .regex(/^[^=]+=/, "expected column=value, such as lang=en")
  .transform((text) => ({ column: text.slice(0, text.indexOf("=")), value: text.slice(text.indexOf("=") + 1) }));

/**
 * A run as a user describes it, in YAML or JSON. The flags of `labelmill label` and `run submit` have the same names
 * and take precedence. The table of keys in docs/runs.md is generated from this schema.
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
    .describe("A model of the catalog or of the workers, `hf:OWNER/NAME@REVISION`, or a folder."),
  dtype: z
    .enum(["auto", ...DTYPES])
    .optional()
    .describe("Precision of the model."),
  format: z
    .enum(["auto", "csv", "jsonl", "json", "lines", "parquet", "arrow", "tar"])
    .default("auto")
    .describe("Format of the inputs. `auto` detects it."),
  delimiter: z.string().length(1).optional().describe("Delimiter of CSV. If omitted, it is detected."),
  column: z.string().optional().describe("The column with the text or the image reference."),
  idColumn: z.string().optional().describe("The column with the id."),
  keep: z.array(z.string()).default([]).describe("Columns to copy into the rows."),
  where: z.array(where).max(100).default([]).describe("`column=value`: only rows that fit all of these."),
  sample: z.number().gt(0).lt(1).optional().describe("The share of the rows to label, the same ones each time."),
  limit: z.number().int().min(1).optional().describe("Maximum number of rows to label: the first ones."),
  topK: z.number().int().min(1).max(1000).default(DEFAULT_TOP_K).describe("Number of labels in a row, best first."),
  output: OutputOptionsSchema.prefault({}).describe(
    `\`format\` (${code(OUTPUT_FORMATS)}), \`compression\` (${code(COMPRESSIONS)}), \`targetBytes\`, \`partitionBy\` (\`label\`), \`errors\` (\`inline\`, \`apart\`).`,
  ),
  lane: z.enum(LANES).default("bulk").describe("`interactive` goes first, `bulk` keeps at least a fifth."),
  events: EventsSchema.optional().describe("What is published on the results queue: `none`, `parts` or `rows`."),
  sliceItems: z.number().int().min(1).max(MAX_SLICE_ITEMS).optional().describe("Maximum number of items in a slice."),
  sliceBytes: z.number().int().min(1024).max(64_000_000).optional().describe("Maximum bytes in a slice."),
  maxErrors: maxErrors
    .optional()
    .describe("Stops the run if it has more rows in error: a count, or a share such as `5%`."),
  sliceTimeout: z
    .number()
    .min(1)
    .max(86_400)
    .optional()
    .describe("Maximum duration of an attempt of a slice, in seconds."),
  pricePerHour: z
    .number()
    .nonnegative()
    .max(1e9)
    .optional()
    .describe("Price of a worker per hour. The manifest then has the cost of the run."),
});
export type RunSpec = z.infer<typeof RunSpecSchema>;

/** Values as code in Markdown. */
function code(values: readonly string[]): string {
  return values.map((value) => `\`${value}\``).join(", ");
}
