import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { Origin } from "../bytes/origin.ts";
import { type RowFile, rowSource, type WantedColumn } from "../columnar/open.ts";
import { groupFinder } from "../columnar/splitter.ts";
import type { Source } from "../source.ts";
import { bytesPerRow, checkColumns, columnType, type Footer, footerOf, isBytes, isPictureStruct } from "./footer.ts";
import { windowsOf } from "./windows.ts";

/**
 * Opens a Parquet file by its footer; afterwards only the columns that are needed are read. Fails with INPUT_UNREADABLE (none, cut off,
 * encrypted, standard input), INPUT_CODEC, INPUT_EMPTY (no rows) or COLUMN_NOT_FOUND.
 */
export async function openParquet(origin: Origin, told: ReadOptions, wanted: WantedColumn): Promise<Source> {
  if (origin.once)
    throw new LabelmillError(
      "INPUT_UNREADABLE",
      `${origin.label} cannot be read as Parquet: its end comes first; name a file`,
    );
  return rowSource(parquetFile(origin, await footerOf(origin)), told, wanted);
}

export function parquetFile(origin: Origin, footer: Footer): RowFile {
  return {
    ...{ origin, format: "parquet", rows: footer.rows, columns: footer.names },
    columnType: (name) => columnType(footer.columns.get(name)!),
    holdsPictures: (name) => isBytes(footer.columns.get(name)!) || isPictureStruct(footer.columns.get(name)!),
    isPictureStruct: (name) => isPictureStruct(footer.columns.get(name)!),
    check: (names) => checkColumns(origin, footer, names),
    windows: (names, rows) => windowsOf(origin, footer, names, rows),
    groups(names) {
      const sizes = bytesPerRow(footer, names);
      const groups = footer.groups.map((group, index) => ({ ...group, rowBytes: Math.max(1, sizes[index]!) }));
      const find = groupFinder(groups);
      return (row) => groups[find(row)]!;
    },
    place: (_names, _first, _count, pictures) => ({ kind: "parquet", ...(pictures ? { pictures: true } : {}) }),
  };
}
