import type { PassedOverReason, PassedOverReport } from "../../schemas/input.ts";

/** Names printed for each reason. The manifest has more. */
const NAMES_SHOWN = 3;

const REASONS: Readonly<Record<PassedOverReason, string>> = {
  hidden: "hidden",
  empty: "empty",
  "folder-marker": "folder markers",
  "no-records": "without records",
  "not-data": "not data files by their names",
  "unknown-extension": "with an unknown extension",
  "other-format": "in another format",
  "image-among-texts": "images among texts",
  "not-an-image": "not images by their names",
  "image-not-decodable": "images that cannot be decoded here",
  "link-or-device": "links, pipes or devices",
  "name-not-utf8": "with a name that is not UTF-8",
  replaced: "replaced by later members of an archive",
  "old-version": "old versions or deletions",
};

export const NOTHING_PASSED_OVER: PassedOverReport = { count: 0, reasons: [] };

/** The lines about skipped files, one for each reason. Empty if no file was skipped. */
export function passedOverLines({ count, reasons }: PassedOverReport = NOTHING_PASSED_OVER): string[] {
  if (count === 0) return [];
  return [
    `Skipped: ${count} ${count === 1 ? "file" : "files"}`,
    ...reasons.map(({ reason, count, names }) => {
      const more = count > NAMES_SHOWN ? ", …" : "";
      return `  ${count} ${REASONS[reason]}: ${names.slice(0, NAMES_SHOWN).join(", ")}${more}`;
    }),
  ];
}
