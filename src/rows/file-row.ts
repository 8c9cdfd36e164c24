import type { Row } from "../schemas/row.ts";

/**
 * What an output file of any format says of a row: enough to prove it. `label` is undefined where the folder of the
 * file says it.
 */
export type FileRow = { uri: string; record: number; label?: string | undefined; errorCode?: string | undefined };

/** The row of a part as a file would say it. */
export function fileRowOf(row: Row): FileRow {
  const { uri, record } = row.source;
  return { uri, record, ...("error" in row ? { errorCode: row.error.code } : { label: row.label }) };
}
