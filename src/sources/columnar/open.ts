import type { ColumnType, ReadOptions } from "../../schemas/input.ts";
import type { Split } from "../../schemas/split.ts";
import { EmptyInput } from "../bytes/empty-input.ts";
import type { Origin } from "../bytes/origin.ts";
import { idNameOf, type ToItem, toRecord } from "../item/record.ts";
import { resolveColumns } from "../item/resolve-columns.ts";
import type { Row } from "../item/row.ts";
import type { Source, SourceRecord } from "../source.ts";
import type { ColumnarFormat } from "./formats.ts";
import { type Content, neededColumns, rowFilter, rowReader } from "./row-reader.ts";
import { columnarSplitter, type RowGroup, type Window } from "./splitter.ts";

/** Rows `first` to `end` (exclusive). */
export type RowRange = { first: number; end: number };

/** A file of a columnar format. It can be read from any row on. */
export type ColumnarFile = {
  origin: Origin;
  format: ColumnarFormat;
  rows: number;
  /** The names of the columns, in the order of the file. */
  columns: readonly string[];
  columnType(name: string): ColumnType;
  /** Whether the values of a column may be images: bytes, or structs with bytes. */
  mayHoldImages(name: string): boolean;
  /** Whether a column is a struct of an image's bytes and path, which only columns of images are. */
  isImageStruct(name: string): boolean;
  /** Throws if one of the columns cannot be read. */
  check(names: readonly string[]): void;
  windows(names: readonly string[], rows: RowRange): AsyncIterable<Window>;
  /** The group of a row. Its bytes are those of the named columns. */
  groups(names: readonly string[]): (row: number) => RowGroup | Promise<RowGroup>;
  place(names: readonly string[], first: number, count: number, images: boolean): Split["at"];
};

export type WantedColumn = {
  /** Names of the column to search for if the options name none, in lower case. */
  names: readonly string[];
  toItem: ToItem;
  /** Makes the item of a row whose column may contain the image itself. If omitted, images are not searched for. */
  toEmbedded?: ToItem;
};

/** The rows as a source of items. @throws LabelmillError INPUT_EMPTY (no rows), COLUMN_NOT_FOUND, INPUT_UNREADABLE (type of a column) */
export function columnarSource(file: ColumnarFile, options: ReadOptions, wanted: WantedColumn): Source {
  const { origin, format, rows } = file;
  if (rows === 0) throw new EmptyInput(`${origin.label} has no rows`);
  const resolved = resolveColumns(file.columns, withImageColumn(file, options, wanted), wanted.names, origin.label);
  const read: ReadOptions = { ...resolved, format, delimiter: null };
  const needed = neededColumns(read);
  file.check(needed);
  const images = wanted.toEmbedded !== undefined && file.mayHoldImages(read.column!);
  const whole = { first: 0, end: rows };
  return {
    input: origin.input,
    read,
    columns: Object.fromEntries(read.keep.map((name) => [name, file.columnType(name)])),
    async *records(idName) {
      if (images) yield* countedRows(file, read, wanted.toItem, idName);
      else for await (const records of rowRecords(file, read, "text", wanted.toItem, whole, { idName })) yield* records;
      await origin.checkUnchanged();
    },
    splitter: columnarSplitter({
      ...{ input: origin.input, read, rows },
      groupOf: file.groups(needed),
      filtered: (names, from) => file.windows(names, { first: from, end: rows }),
      place: (first, count) => file.place(needed, first, count, images),
      checkUnchanged: () => origin.checkUnchanged(),
    }),
    ...(images ? { onlySplits: true } : {}),
  };
}

/** The options with the column of images, if no name matches and exactly one column is a struct of bytes and path. */
function withImageColumn(file: ColumnarFile, options: ReadOptions, { names, toEmbedded }: WantedColumn): ReadOptions {
  if (options.column !== null || toEmbedded === undefined) return options;
  if (file.columns.some((name) => names.includes(name.toLowerCase()))) return options;
  const found = file.columns.filter((name) => file.isImageStruct(name));
  return found.length === 1 ? { ...options, column: found[0]! } : options;
}

/** The rows without their content, which only workers read. */
async function* countedRows(
  { origin, rows, windows }: ColumnarFile,
  read: ReadOptions,
  toItem: ToItem,
  name = idNameOf(origin.input.uri),
): AsyncGenerator<SourceRecord> {
  const filtered = (read.where ?? []).map(({ column }) => column);
  if (filtered.length === 0) {
    for (let record = 0; record < rows; record++) yield toRecord({}, undefined, record, name, toItem);
    return;
  }
  const passes = rowFilter(read, 0);
  for await (const { first, from, to, columns } of windows(filtered, { first: 0, end: rows })) {
    for (let record = from; record < to; record++) {
      const row: Row = passes(columns, record - first) ? {} : { skipped: true };
      yield toRecord(row, undefined, record, name, toItem);
    }
  }
}

/** The records of a range of rows, one generator for each decoded window. Records that are not selected are left out. */
export async function* rowRecords(
  { origin, windows }: Pick<ColumnarFile, "origin" | "windows">,
  read: ReadOptions,
  content: Content,
  toItem: ToItem,
  rows: RowRange,
  { isSelected = () => true, idName }: { isSelected?: (record: number) => boolean; idName?: string | undefined },
): AsyncGenerator<Generator<SourceRecord>> {
  const rowOf = rowReader(read, content);
  const name = idName ?? idNameOf(origin.input.uri);
  for await (const { first, from, to, columns } of windows(neededColumns(read), rows)) {
    yield (function* () {
      for (let record = from; record < to; record++)
        if (isSelected(record)) yield toRecord(rowOf(columns, record - first, record), undefined, record, name, toItem);
    })();
  }
}
