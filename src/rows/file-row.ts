import type { Row } from "../schemas/row.ts";

/** A row of an output file of any format, as far as `verify` needs it. `label` is undefined if the folder has it. */
export type FileRow = { uri: string; record: number; label?: string | undefined; errorCode?: string | undefined };

/** A row of a part as a row of a file. */
export function fileRowOf(row: Row): FileRow {
  const { uri, record } = row.source;
  return { uri, record, ...("error" in row ? { errorCode: row.error.code } : { label: row.label }) };
}
