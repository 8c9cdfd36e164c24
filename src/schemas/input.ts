import { z } from "zod";

/** Only records with this value in this column are items of the run. */
export const WhereSchema = z.strictObject({ column: z.string(), value: z.string() });
export type Where = z.infer<typeof WhereSchema>;

/** How the inputs are read. A delimiter of null is detected; any other option that is null is not set. */
export const ReadOptionsSchema = z.strictObject({
  format: z.enum(["auto", "csv", "jsonl", "json", "lines", "parquet", "arrow", "tar"]),
  delimiter: z.string().length(1).nullable(),
  /** The column of the text, or of the image reference. */
  column: z.string().nullable(),
  idColumn: z.string().nullable(),
  keep: z.array(z.string()),
  /** A record must fit all of them. A record that cannot be read is always an item, because it might fit. */
  where: z.array(WhereSchema).max(100).optional(),
});
export type ReadOptions = z.infer<typeof ReadOptionsSchema>;

/** An input at the time when the run was planned. */
export const InputSchema = z.strictObject({
  uri: z.string(),
  /** Bytes of a file or object, or files of a folder or prefix. Null if unknown (standard input, a URL). */
  size: z.int().nonnegative().nullable(),
  modifiedAt: z.iso.datetime().nullable(),
  /**
   * The hash of both ends of a file, or of the listing of a folder or S3 prefix; for an S3 object, `etag:` and its
   * ETag.
   */
  hash: z.string().nullable(),
});
export type Input = z.infer<typeof InputSchema>;

/**
 * The type of a kept column, as its input declares it or as its values show. `datetime` has no time zone. `json` is any
 * value, as JSON.
 */
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

/** Why a file, object or archive member that an argument covers is skipped. */
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

/** The maximum number of names for each reason: the first ones. */
export const MAX_PASSED_OVER_NAMES = 10;

/** Skipped files, objects and archive members: their number, reasons, and the first names for each reason. */
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

/** Adds up several reports. Reasons are in the order of `PASSED_OVER_REASONS`. */
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
