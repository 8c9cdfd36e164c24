import { z } from "zod";

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
