import { isUtf8 } from "node:buffer";
import type { DecodedArray } from "hyparquet";
import type { ReadOptions } from "../schemas/input.ts";
import { RepairedText } from "./parquet-rows.ts";
import { invalid, keptError, kindOf, type Row } from "./rows.ts";
import { quoted } from "./source.ts";

/** What is read of a row: the column, the id column's, those kept, those filtered by, in this order. */
export function neededColumns({ column, idColumn, keep, where = [] }: ReadOptions): string[] {
  const ids = idColumn === null ? [] : [idColumn];
  return [column!, ...ids, ...keep, ...where.map((filter) => filter.column)];
}

/** Makes rows of the values of the needed columns; `record` is the row's number, for messages. */
export function rowReader(read: ReadOptions): (columns: readonly DecodedArray[], at: number, record: number) => Row {
  const { column, idColumn, keep } = read;
  const ids = idColumn === null ? 0 : 1;
  const passes = rowFilter(read, 1 + ids + keep.length);
  return (columns, at, record) => {
    if (!passes(columns, at)) return { skipped: true };
    const row: Row = {};
    if (ids > 0) {
      const id = textOf(columns[1]![at]);
      if (id !== undefined) row.id = id.text;
    }
    const value = textOf(columns[0]![at]);
    const where = `row ${record}`;
    if (value === undefined) {
      const came = kindOf(columns[0]![at] ?? null);
      return { ...row, ...invalid(`${where}: expected a text in column ${quoted(column!)}, came ${came}`) };
    }
    row.value = value.text;
    if (value.repaired) row.repaired = true;
    if (keep.length === 0) return row;
    const kept = keep.map((name, index) => [name, jsonOf(columns[1 + ids + index]![at])] as const);
    const input = Object.fromEntries(kept);
    const error = keptError(input, where);
    if (error === undefined) return { ...row, input };
    return { ...(row.id === undefined ? {} : { id: row.id }), error };
  };
}

/** Whether a row passes the filter; the filtered columns begin at `offset` among the columns. */
export function rowFilter(
  { where = [] }: ReadOptions,
  offset: number,
): (columns: readonly DecodedArray[], at: number) => boolean {
  return (columns, at) => where.every(({ value }, index) => textOf(columns[offset + index]![at])?.text === value);
}

/** A text, number or boolean as text; undefined for anything else. */
function textOf(value: unknown): { text: string; repaired?: true } | undefined {
  if (typeof value === "string") return { text: value };
  if (value instanceof RepairedText) return { text: value.text, repaired: true };
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean")
    return { text: String(value) };
  // Older writers do not say which of their bytes are texts.
  if (!(value instanceof Uint8Array)) return undefined;
  const text = Buffer.from(value.buffer, value.byteOffset, value.length).toString("utf8");
  return isUtf8(value) ? { text } : { text, repaired: true };
}

/** A value as JSON can hold it. */
function jsonOf(value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof RepairedText) return value.text;
  if (typeof value === "string") return value.isWellFormed() ? value : value.toWellFormed();
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
    return bytes.toString(isUtf8(value) ? "utf8" : "base64");
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value)) return value.map((inner) => jsonOf(inner));
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, jsonOf(inner)]));
}
