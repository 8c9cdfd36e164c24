import { parquetMetadata, parquetReadObjects, parquetSchema } from "hyparquet";
import type { ParquetName } from "./columns.ts";
import type { FileRow } from "./file-row.ts";

/** The columns that prove a row. A partitioned file has no `label`. */
const PROOF_COLUMNS = ["source_uri", "source_record", "error_code", "label"] as const satisfies ParquetName[];
type ProofRow = Partial<Record<(typeof PROOF_COLUMNS)[number], unknown>>;

/** Reads the rows of a Parquet file that labelmill wrote, one row group at a time. */
export async function* readParquetRows(bytes: Uint8Array): AsyncGenerator<FileRow[]> {
  const file = new Uint8Array(bytes).buffer;
  const metadata = parquetMetadata(file);
  const existing = new Set(parquetSchema(metadata).children.map(({ element }) => element.name));
  const columns = PROOF_COLUMNS.filter((name) => existing.has(name));
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = (await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd })) as ProofRow[];
    yield rows.map(toFileRow);
    rowStart = rowEnd;
  }
}

function toFileRow({ source_uri, source_record, error_code, label }: ProofRow): FileRow {
  return {
    uri: String(source_uri),
    record: Number(source_record),
    ...(typeof error_code === "string" ? { errorCode: error_code } : {}),
    ...(typeof label === "string" ? { label } : {}),
  };
}
