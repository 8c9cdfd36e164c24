import { z } from "zod";

export const OUTPUT_FORMATS = ["jsonl", "parquet"] as const;

/** The form of the results. The defaults leave the parts as the workers write them: all else is made of the parts at the end. */
export const OutputOptionsSchema = z.strictObject({
  format: z.enum(OUTPUT_FORMATS).default("jsonl"),
  compression: z.enum(["none", "gzip", "zstd"]).default("none"),
  /** Bytes of the parts that one file is made of, at least; null: 128 MB where files are made. */
  targetBytes: z.int().min(1_000_000).max(2_000_000_000).nullable().default(null),
  /** Hive-style folders: `label=POSITIVE/`. */
  partitionBy: z.enum(["label"]).nullable().default(null),
  /** `apart`: rows in error go to files of their own in `_errors/`. */
  errors: z.enum(["inline", "apart"]).default("inline"),
});
export type OutputOptions = z.infer<typeof OutputOptionsSchema>;

export const PLAIN_OUTPUT: OutputOptions = OutputOptionsSchema.parse({});

/** Whether output files are made of the parts, which then lie in `_parts/`. */
export function isCompacted(output: OutputOptions): boolean {
  const { format, compression, targetBytes, partitionBy, errors } = output;
  return (
    format !== "jsonl" || compression !== "none" || targetBytes !== null || partitionBy !== null || errors !== "inline"
  );
}
