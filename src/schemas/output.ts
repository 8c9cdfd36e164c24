import { z } from "zod";

export const OUTPUT_FORMATS = ["jsonl", "parquet"] as const;

/** Compressions of JSON lines. How they are done: `rows/compression.ts`. */
export const COMPRESSIONS = ["none", "gzip", "zstd"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** The extensions of JSON lines in each compression, without the first dot. */
const JSONL_EXTENSIONS: Record<Compression, string> = { none: "jsonl", gzip: "jsonl.gz", zstd: "jsonl.zst" };
const PARQUET_EXTENSION = "parquet";

/** All extensions of output files, without the first dot. */
export const FILE_EXTENSIONS: readonly string[] = [...Object.values(JSONL_EXTENSIONS), PARQUET_EXTENSION];

/**
 * The format of the results. With the defaults, the parts are the result. Otherwise, files are made of the parts at the
 * end of the run.
 */
export const OutputOptionsSchema = z.strictObject({
  format: z.enum(OUTPUT_FORMATS).default("jsonl"),
  compression: z.enum(COMPRESSIONS).default("none"),
  /** Minimum bytes of the parts that one file is made of. Null: 128 MB, if files are made. */
  targetBytes: z.int().min(1_000_000).max(2_000_000_000).nullable().default(null),
  /** Folders as in Hive, such as `label=POSITIVE/`. */
  partitionBy: z.enum(["label"]).nullable().default(null),
  /** `apart`: rows in error are written to separate files in `_errors/`. */
  errors: z.enum(["inline", "apart"]).default("inline"),
});
export type OutputOptions = z.infer<typeof OutputOptionsSchema>;

export const PLAIN_OUTPUT: OutputOptions = OutputOptionsSchema.parse({});

/** The extension of output files, without the first dot. */
export function fileExtension({ format, compression }: Pick<OutputOptions, "format" | "compression">): string {
  return format === "parquet" ? PARQUET_EXTENSION : JSONL_EXTENSIONS[compression];
}

/** Whether output files are made of the parts, which are then in `_parts/`. */
export function isCompacted(output: OutputOptions): boolean {
  const { format, compression, targetBytes, partitionBy, errors } = output;
  return (
    format !== "jsonl" || compression !== "none" || targetBytes !== null || partitionBy !== null || errors !== "inline"
  );
}
