import { parquetMetadata, parquetReadObjects } from "hyparquet";
import type { FileRow } from "./file-rows.ts";

/** The rows of a Parquet file of ours, a row group at a time. */
export async function* readParquetRows(bytes: Uint8Array): AsyncGenerator<FileRow[]> {
  const file = new Uint8Array(bytes).buffer;
  const metadata = parquetMetadata(file);
  // After the root and the id, if the file has it at all: `labels` has another one in it.
  const hasLabel = metadata.schema[2]?.name === "label";
  const columns = ["source_uri", "source_record", "error_code", ...(hasLabel ? ["label"] : [])];
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const found = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd });
    yield found.map(({ source_uri, source_record, error_code, label }) => ({
      uri: String(source_uri),
      record: Number(source_record),
      ...(typeof error_code === "string" ? { errorCode: error_code } : {}),
      ...(typeof label === "string" ? { label } : {}),
    }));
    rowStart = rowEnd;
  }
}
