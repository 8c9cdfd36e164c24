import type { ColumnType, ReadOptions } from "../../schemas/input.ts";
import type { Split } from "../../schemas/split.ts";
import { EmptyInput } from "../bytes/empty-input.ts";
import type { Origin } from "../bytes/origin.ts";
import { idNameOf, type ToItem, toRecord } from "../item/record.ts";
import { resolveColumns } from "../item/resolve-columns.ts";
import type { Row } from "../item/row.ts";
import { isSampled } from "../item/sample.ts";
import type { Source, SourceRecord } from "../source.ts";
import { type Content, neededColumns, rowFilter, rowReader } from "./row-reader.ts";
import { type RowGroup, rowSplitter, type Window } from "./splitter.ts";

/** Rows `first` to `end`, excluded. */
export type RowRange = { first: number; end: number };

/** A file of rows in columns that can be read from anywhere in it: Parquet, Arrow. */
export type RowFile = {
  origin: Origin;
  format: "parquet" | "arrow";
  rows: number;
  /** The names of its columns, in their order. */
  columns: readonly string[];
  columnType(name: string): ColumnType;
  /** Whether a column's values may be images themselves: bytes, or structs with bytes. */
  holdsPictures(name: string): boolean;
  /** Whether it is a struct of an image's bytes and path, which nothing but images have. */
  isPictureStruct(name: string): boolean;
  /** Fails where one of the columns cannot be read. */
  check(names: readonly string[]): void;
  windows(names: readonly string[], rows: RowRange): AsyncIterable<Window>;
  /** The group that a row lies in, its bytes those of the named columns. */
  groups(names: readonly string[]): (row: number) => RowGroup | Promise<RowGroup>;
  place(names: readonly string[], first: number, count: number, pictures: boolean): Split["at"];
};

export type WantedColumn = {
  /** What the column may be called where none is told, in lower case. */
  names: readonly string[];
  toItem: ToItem;
  /** What a row becomes whose column may hold the image itself; without it images are not looked for. */
  toPicture?: ToItem;
};

/** The rows as a source of items. Fails with INPUT_EMPTY (no rows), COLUMN_NOT_FOUND, INPUT_UNREADABLE (a column's type). */
export function rowSource(file: RowFile, told: ReadOptions, wanted: WantedColumn): Source {
  const { origin, format, rows } = file;
  if (rows === 0) throw new EmptyInput(`${origin.label} has no rows`);
  const resolved = resolveColumns(file.columns, withPictures(file, told, wanted), wanted.names, origin.label);
  const read: ReadOptions = { ...resolved, format, delimiter: null };
  const needed = neededColumns(read);
  file.check(needed);
  const pictures = wanted.toPicture !== undefined && file.holdsPictures(read.column!);
  const whole = { first: 0, end: rows };
  return {
    input: origin.input,
    read,
    columns: Object.fromEntries(read.keep.map((name) => [name, file.columnType(name)])),
    async *records(idName) {
      if (pictures) yield* countedRows(file, read, wanted.toItem, idName);
      else for await (const records of rowRecords(file, read, "text", wanted.toItem, whole, { idName })) yield* records;
      await origin.checkUnchanged();
    },
    splitter: rowSplitter({
      ...{ input: origin.input, read, rows },
      groupOf: file.groups(needed),
      filtered: (names, from) => file.windows(names, { first: from, end: rows }),
      place: (first, count) => file.place(needed, first, count, pictures),
      checkUnchanged: () => origin.checkUnchanged(),
    }),
    ...(pictures ? { onlySplits: true } : {}),
  };
}

/** With the column of images found where no name says which: the only one that is a struct of bytes and path. */
function withPictures(file: RowFile, told: ReadOptions, { names, toPicture }: WantedColumn): ReadOptions {
  if (told.column !== null || toPicture === undefined) return told;
  if (file.columns.some((name) => names.includes(name.toLowerCase()))) return told;
  const found = file.columns.filter((name) => file.isPictureStruct(name));
  return found.length === 1 ? { ...told, column: found[0]! } : told;
}

/** The rows without what they hold, which is read by the workers alone. */
async function* countedRows(
  { origin, rows, windows }: RowFile,
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

/** The records of rows `first` to `end`, excluded, as they are decoded, together; those that are not wanted are left out. */
async function* rowRecords(
  { origin, windows }: Pick<RowFile, "origin" | "windows">,
  read: ReadOptions,
  content: Content,
  toItem: ToItem,
  rows: RowRange,
  { isWanted = () => true, idName }: { isWanted?: (record: number) => boolean; idName?: string | undefined },
): AsyncGenerator<Generator<SourceRecord>> {
  const rowOf = rowReader(read, content);
  const name = idName ?? idNameOf(origin.input.uri);
  for await (const { first, from, to, columns } of windows(neededColumns(read), rows)) {
    yield (function* () {
      for (let record = from; record < to; record++)
        if (isWanted(record)) yield toRecord(rowOf(columns, record - first, record), undefined, record, name, toItem);
    })();
  }
}

/** The items of a split, its rows being there. */
export async function* splitRecords(
  file: Pick<RowFile, "origin" | "windows">,
  { input, first, count, read, sample, only, idName }: Split,
  content: Content,
  toItem: ToItem,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const numbers = only && new Set(only);
  const isWanted = (record: number): boolean =>
    (numbers?.has(record) ?? true) && (sample === undefined || isSampled(input.uri, record, sample));
  const rows = { first, end: first + count };
  for await (const records of rowRecords(file, read, content, toItem, rows, { isWanted, idName })) {
    signal.throwIfAborted();
    for (const record of records) if (!record.skipped) yield record;
  }
}
