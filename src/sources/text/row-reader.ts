import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { resolveColumns } from "../item/resolve-columns.ts";
import { invalid, keptError, kindOf, type Row } from "../item/row.ts";
import { quoted } from "../source.ts";
import { type CsvRecord, CsvScanner } from "./csv-scanner.ts";
import { JsonArrayScanner } from "./json/array-scanner.ts";
import { parseJson } from "./json/parse.ts";
import { type Line, LineScanner } from "./line-scanner.ts";
import type { Scanner, ScanPlace } from "./scanner.ts";

/** One pass over a table. `take` converts what the scanner finds, in order. Undefined: it is a header, not a record. */
export type RowReader = {
  readonly scanner: Scanner<CsvRecord | Line>;
  take(raw: CsvRecord | Line): Row | undefined;
  read: ReadOptions;
  /** The columns are known, and the requested ones exist. */
  ready: boolean;
  /** Only for CSV that is `ready`: the number of columns, and the indices of the requested ones (column, id, kept, filtered). */
  header?: Header;
};

export type Header = { width: number; places: readonly number[] };

/** The result of an earlier pass. `at`: where this pass begins, after a header. */
export type Settled = { header?: Header | undefined; at?: ScanPlace | undefined };

export type Wanted = {
  /** The input's name in messages. */
  label: string;
  /** Names of the column to search for if the options name none, in lower case. */
  names: readonly string[];
  /** Blank lines of plain lines are not records. */
  skipBlankLines: boolean;
};

/** @param settled if the columns are known from an earlier pass: then CSV does not begin with its header */
export function readerOf(read: ReadOptions, wanted: Wanted, settled?: Settled): RowReader {
  if (read.format === "csv") return csvReader(read, wanted, settled);
  if (read.format === "jsonl" || read.format === "json") return jsonReader(read, settled);
  return linesReader(read, wanted, settled);
}

function csvReader(read: ReadOptions, wanted: Wanted, settled?: Settled): RowReader {
  const scanner = new CsvScanner(read.delimiter!, settled?.at);
  const ids = read.idColumn === null ? [] : [read.idColumn];
  const filters = read.where ?? [];
  const filtered = 1 + ids.length + read.keep.length;
  const know = (header: Header): void => {
    reader.header = header;
    scanner.pick = header.places;
    reader.ready = true;
  };
  const takeHeader = (raw: CsvRecord): void => {
    if ("error" in raw)
      throw new LabelmillError("INPUT_UNREADABLE", `${wanted.label} has no header: ${raw.error.message}`);
    const header = raw.fields.map((name) => name.trim());
    reader.read = resolveColumns(header, read, wanted.names, wanted.label);
    const { column, keep } = reader.read;
    const names = [column!, ...ids, ...keep, ...filters.map((where) => where.column)];
    know({ width: header.length, places: names.map((name) => header.indexOf(name)) });
  };
  const reader: RowReader = {
    scanner,
    read,
    ready: false,
    take(raw) {
      if (!reader.ready) return void takeHeader(raw as CsvRecord);
      if ("error" in raw) return { error: raw.error };
      const { line, fields, count, repaired } = raw as Extract<CsvRecord, { count: number }>;
      const { width } = reader.header!;
      if (count !== width) return invalid(`line ${line}: expected ${width} columns as in the header, got ${count}`);
      if (filters.some(({ value }, index) => fields[filtered + index] !== value)) return { skipped: true };
      const row: Row = { value: fields[0]!, repaired };
      if (read.idColumn !== null) row.id = fields[1]!;
      return keepIn(row, line, read.keep.length, () =>
        read.keep.map((name, index) => [name, fields[1 + ids.length + index]!]),
      );
    },
  };
  if (settled?.header) know(settled.header);
  return reader;
}

/** The reader of JSONL and JSON arrays. Their columns are known (jsonColumns). */
function jsonReader(read: ReadOptions, settled?: Settled): RowReader {
  const { column, idColumn, keep } = read;
  return {
    scanner: scannerOfJson(read, settled?.at),
    read,
    ready: true,
    take(raw) {
      if ("error" in raw) return { error: raw.error };
      const { line, text, repaired } = raw as Extract<Line, { text: string }>;
      const object = parseObject(text);
      if (object === undefined) return invalid(`line ${line}: expected a JSON object, got ${kindOfLine(text)}`);
      if (!passesFilter(object, read)) return { skipped: true };
      const row: Row = { repaired };
      if (idColumn !== null) row.id = scalar(object, idColumn);
      row.value = scalar(object, column!);
      if (row.value === undefined) {
        const found = Object.hasOwn(object, column!) ? kindOf(object[column!]) : "a record without the column";
        return { ...row, ...invalid(`line ${line}: expected a text in column ${quoted(column!)}, got ${found}`) };
      }
      return keepIn(row, line, keep.length, () =>
        keep.filter((name) => Object.hasOwn(object, name)).map((name) => [name, object[name]]),
      );
    },
  };
}

export function scannerOfJson({ format }: ReadOptions, at?: ScanPlace): Scanner<Line> {
  return format === "json" ? new JsonArrayScanner(at) : new LineScanner({ skipBlank: true, at });
}

function linesReader(read: ReadOptions, wanted: Wanted, settled?: Settled): RowReader {
  return {
    scanner: new LineScanner({ skipBlank: wanted.skipBlankLines, at: settled?.at }),
    read,
    ready: true,
    take(raw) {
      if ("error" in raw) return { error: raw.error };
      const { text, repaired } = raw as Extract<Line, { text: string }>;
      return { value: text, repaired };
    },
  };
}

/** The row with its kept columns. If they are too large, the row has an error instead of a value. */
function keepIn(row: Row, line: number, count: number, entries: () => [string, unknown][]): Row {
  if (count === 0) return row;
  const input = Object.fromEntries(entries());
  const error = keptError(input, `line ${line}`);
  return error === undefined ? { ...row, input } : { id: row.id, repaired: row.repaired, error };
}

/** Parses a JSON object. Undefined if the text is not one. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  const value = parseJson(text);
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Whether a record of JSON passes the filter. */
export function passesFilter(object: Record<string, unknown>, { where = [] }: ReadOptions): boolean {
  return where.every(({ column, value }) => scalar(object, column) === value);
}

/** A column's text, number or boolean as text. Undefined for any other value. */
function scalar(object: Record<string, unknown>, column: string): string | undefined {
  const value = Object.hasOwn(object, column) ? object[column] : undefined;
  if (typeof value === "string") return value;
  return typeof value === "boolean" || typeof value === "number" ? String(value) : undefined;
}

function kindOfLine(text: string): string {
  const value = parseJson(text);
  return value === undefined ? "text that is not JSON" : kindOf(value);
}
