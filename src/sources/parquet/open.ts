import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { Origin } from "../bytes/origin.ts";
import { type ColumnarFile, columnarSource, type WantedColumn } from "../columnar/open.ts";
import { groupFinder } from "../columnar/splitter.ts";
import type { Source } from "../source.ts";
import { bytesPerRow, checkColumns, columnType, type Footer, footerOf, isBytes, isImageStruct } from "./footer.ts";
import { windowsOf } from "./windows.ts";

/**
 * Opens a Parquet file. Its footer is read, later only the needed columns.
 * @throws LabelmillError INPUT_UNREADABLE (another format, cut off, encrypted, standard input), INPUT_CODEC, INPUT_EMPTY (no rows),
 * COLUMN_NOT_FOUND
 */
export async function openParquet(origin: Origin, read: ReadOptions, wanted: WantedColumn): Promise<Source> {
  if (origin.once)
    throw new LabelmillError(
      "INPUT_UNREADABLE",
      `${origin.label} cannot be read as Parquet, which needs random access; name a file`,
    );
  return columnarSource(parquetFile(origin, await footerOf(origin)), read, wanted);
}

function parquetFile(origin: Origin, footer: Footer): ColumnarFile {
  return {
    ...{ origin, format: "parquet", rows: footer.rows, columns: footer.names },
    columnType: (name) => columnType(footer.columns.get(name)!),
    mayHoldImages: (name) => isBytes(footer.columns.get(name)!) || isImageStruct(footer.columns.get(name)!),
    isImageStruct: (name) => isImageStruct(footer.columns.get(name)!),
    check: (names) => checkColumns(origin, footer, names),
    windows: (names, rows) => windowsOf(origin, footer, names, rows),
    groups(names) {
      const sizes = bytesPerRow(footer, names);
      const groups = footer.groups.map((group, index) => ({ ...group, rowBytes: Math.max(1, sizes[index]!) }));
      const find = groupFinder(groups);
      return (row) => groups[find(row)]!;
    },
    place: (_names, _first, _count, images) => ({ kind: "parquet", ...(images ? { pictures: true } : {}) }),
  };
}
