import { z } from "zod";

/** Rows whose column does not hold this value are no items of the run. */
export const WhereSchema = z.strictObject({ column: z.string(), value: z.string() });
export type Where = z.infer<typeof WhereSchema>;

/** How the inputs are read. Null means: found by looking (delimiter), or none. */
export const ReadOptionsSchema = z.strictObject({
  format: z.enum(["auto", "csv", "jsonl", "json", "lines", "parquet", "arrow", "tar"]),
  delimiter: z.string().length(1).nullable(),
  /** The column of the text, or of the image reference. */
  column: z.string().nullable(),
  idColumn: z.string().nullable(),
  keep: z.array(z.string()),
  /** All of them must hold. A record that cannot be read is an item whatever they say: it may have been meant. */
  where: z.array(WhereSchema).max(100).optional(),
});
export type ReadOptions = z.infer<typeof ReadOptionsSchema>;

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

/** What a kept column holds, where its input says so; else it is found in the rows. `datetime`: one without a zone; `json`: anything, as JSON. */
export const ColumnTypeSchema = z.enum([
  "boolean",
  "integer",
  "number",
  "string",
  "timestamp",
  "datetime",
  "date",
  "json",
]);
export type ColumnType = z.infer<typeof ColumnTypeSchema>;

/** Why a file, object or member of an archive is no input of a run, though an argument covers it. */
export const PASSED_OVER_REASONS = [
  "hidden",
  "empty",
  "folder-marker",
  "no-records",
  "not-data",
  "unknown-extension",
  "other-format",
  "image-among-texts",
  "not-an-image",
  "image-not-decodable",
  "link-or-device",
  "name-not-utf8",
  "replaced",
  "old-version",
] as const;
export type PassedOverReason = (typeof PASSED_OVER_REASONS)[number];

/** The most names that are kept for a reason: the first ones. */
export const MAX_PASSED_OVER_NAMES = 10;

/** How many files, objects or members of archives were passed over, and why; of each reason the first names. */
export const PassedOverSchema = z.strictObject({
  count: z.int().nonnegative(),
  reasons: z.array(
    z.strictObject({
      reason: z.enum(PASSED_OVER_REASONS),
      count: z.int().positive(),
      names: z.array(z.string()).max(MAX_PASSED_OVER_NAMES),
    }),
  ),
});
export type PassedOverReport = z.infer<typeof PassedOverSchema>;

/** The sum of several reports, reasons in the order of the table. */
export function sumPassedOver(reports: Iterable<PassedOverReport>): PassedOverReport {
  const all = [...reports].flatMap(({ reasons }) => reasons);
  const reasons = PASSED_OVER_REASONS.flatMap((reason) => {
    const own = all.filter((each) => each.reason === reason);
    if (own.length === 0) return [];
    const names = own.flatMap((each) => each.names).slice(0, MAX_PASSED_OVER_NAMES);
    return [{ reason, count: own.reduce((sum, { count }) => sum + count, 0), names }];
  });
  return { count: reasons.reduce((sum, { count }) => sum + count, 0), reasons };
}
