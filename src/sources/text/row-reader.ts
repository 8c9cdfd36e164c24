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

/** One pass over a table: `take` is given what the scanner finds, in order; undefined is no record (a header). */
export type RowReader = {
  readonly scanner: Scanner<CsvRecord | Line>;
  take(raw: CsvRecord | Line): Row | undefined;
  read: ReadOptions;
  /** The columns are known, and those that were asked for are there. */
  ready: boolean;
  /** Of CSV that is `ready`: columns of the header, and where those asked for are among them (column, id, kept, filtered). */
  header?: Header;
};

export type Header = { width: number; places: readonly number[] };

/** What an earlier pass found out; `at`: where this one begins, behind a header. */
export type Settled = { header?: Header | undefined; at?: ScanPlace | undefined };

export type Wanted = {
  /** How the input is called in messages. */
  label: string;
  /** What the column may be called where none is told, in lower case. */
  names: readonly string[];
  /** In plain lines, blank ones are no records. */
  skipBlankLines: boolean;
};

/** `settled`: the columns are known from an earlier pass, those of CSV where it does not begin with its header. */
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
      if (count !== width) return invalid(`line ${line}: expected ${width} columns as in the header, came ${count}`);
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

/** Of JSONL and JSON arrays, whose columns are known (jsonColumns). */
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
      if (object === undefined) return invalid(`line ${line}: expected a JSON object, came ${kindOfLine(text)}`);
      if (!passesFilter(object, read)) return { skipped: true };
      const row: Row = { repaired };
      if (idColumn !== null) row.id = scalar(object, idColumn);
      row.value = scalar(object, column!);
      if (row.value === undefined) {
        const came = Object.hasOwn(object, column!)
          ? `came ${kindOf(object[column!])}`
          : "which this record does not have";
        return { ...row, ...invalid(`line ${line}: expected a text in column ${quoted(column!)}, ${came}`) };
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

/** The row with what is kept of its record, or, where that is too much, with an error in the place of its value. */
function keepIn(row: Row, line: number, count: number, entries: () => [string, unknown][]): Row {
  if (count === 0) return row;
  const input = Object.fromEntries(entries());
  const error = keptError(input, `line ${line}`);
  return error === undefined ? { ...row, input } : { id: row.id, repaired: row.repaired, error };
}

/** A JSON object; undefined where the text is none. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  const value = parseJson(text);
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Whether a record of JSON has the values that the filter asks for. */
export function passesFilter(object: Record<string, unknown>, { where = [] }: ReadOptions): boolean {
  return where.every(({ column, value }) => scalar(object, column) === value);
}

/** A column's text, number or boolean as text; undefined where there is none. */
function scalar(object: Record<string, unknown>, column: string): string | undefined {
  const value = Object.hasOwn(object, column) ? object[column] : undefined;
  if (typeof value === "string") return value;
  return typeof value === "boolean" || typeof value === "number" ? String(value) : undefined;
}

function kindOfLine(text: string): string {
  const value = parseJson(text);
  return value === undefined ? "what is no JSON" : kindOf(value);
}
