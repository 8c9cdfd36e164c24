import type { PassedOverReason, PassedOverReport } from "../../schemas/input.ts";

/** Names shown for a reason; the manifest has more. */
const NAMES_SHOWN = 3;

const REASONS: Readonly<Record<PassedOverReason, string>> = {
  hidden: "hidden",
  empty: "empty",
  "folder-marker": "folder markers",
  "no-records": "without records",
  "not-data": "no data by their names",
  "unknown-extension": "of an unknown extension",
  "other-format": "of another format",
  "image-among-texts": "images among texts",
  "not-an-image": "no images by their names",
  "image-not-decodable": "images that cannot be decoded here",
  "link-or-device": "links, pipes or devices",
  "name-not-utf8": "with a name that is not UTF-8",
  replaced: "replaced by later members of an archive",
  "old-version": "old versions or deletions",
};

export const NOTHING_PASSED_OVER: PassedOverReport = { count: 0, reasons: [] };

/** What was passed over, a line for each reason; no line where nothing was. */
export function passedOverLines({ count, reasons }: PassedOverReport = NOTHING_PASSED_OVER): string[] {
  if (count === 0) return [];
  return [
    `Passed over: ${count} ${count === 1 ? "file" : "files"}`,
    ...reasons.map(({ reason, count, names }) => {
      const more = count > NAMES_SHOWN ? ", …" : "";
      return `  ${count} ${REASONS[reason]}: ${names.slice(0, NAMES_SHOWN).join(", ")}${more}`;
    }),
  ];
}
