import { isUtf8 } from "node:buffer";
import type { ReadOptions } from "../../schemas/input.ts";
import { type Cells, LongValue, RepairedText } from "../item/cell-values.ts";
import { embeddedImage } from "../item/embedded-image.ts";
import { invalid, keptError, kindOf, type Row } from "../item/row.ts";
import { quoted } from "../source.ts";

/** The columns that are read: the column, the id column, the kept and the filtered columns, in this order. */
export function neededColumns({ column, idColumn, keep, where = [] }: ReadOptions): string[] {
  const ids = idColumn === null ? [] : [idColumn];
  return [column!, ...ids, ...keep, ...where.map((filter) => filter.column)];
}

/** What the column contains: texts or references, or the images themselves. */
export type Content = "text" | "images";

const READ_CONTENT: Record<Content, (value: unknown, expected: string, where: string) => Row> = {
  text: textRow,
  images: embeddedImage,
};

/** Makes rows from the values of the needed columns. `record`: the row's number, for messages. */
export function rowReader(
  read: ReadOptions,
  content: Content,
): (columns: readonly Cells[], at: number, record: number) => Row {
  const { idColumn, keep } = read;
  const ids = idColumn === null ? 0 : 1;
  const passes = rowFilter(read, 1 + ids + keep.length);
  const readContent = READ_CONTENT[content];
  return (columns, at, record) => {
    if (!passes(columns, at)) return { skipped: true };
    const row: Row = {};
    if (ids > 0) {
      const id = textOf(columns[1]!.at(at));
      // With U+FFFD in place of invalid bytes, different ids would become the same.
      if (id !== undefined && !id.repaired) row.id = id.text;
    }
    const where = `row ${record}`;
    Object.assign(
      row,
      readContent(columns[0]!.at(at) ?? null, `${where}: expected`, `in column ${quoted(read.column!)}`),
    );
    if (keep.length === 0 || row.error !== undefined) return row;
    const values = keep.map((name, index) => [name, columns[1 + ids + index]!.at(at)] as const);
    const error = tooLongToKeep(values, where);
    const input = error ? {} : Object.fromEntries(values.map(([name, value]) => [name, jsonOf(value)]));
    const found = error ?? keptError(input, where);
    if (found === undefined) return { ...row, input };
    return { ...(row.id === undefined ? {} : { id: row.id }), error: found };
  };
}

/** Whether a row passes the filter. @param offset index of the first filtered column */
export function rowFilter(
  { where = [] }: ReadOptions,
  offset: number,
): (columns: readonly Cells[], at: number) => boolean {
  return (columns, at) => where.every(({ value }, index) => textOf(columns[offset + index]!.at(at))?.text === value);
}

function textRow(value: unknown, expected: string, where: string): Row {
  const text = textOf(value);
  if (text !== undefined) return { value: text.text, ...(text.repaired ? { repaired: true } : {}) };
  if (value instanceof LongValue)
    return tooLong(`${expected} a text of bounded length ${where}, got ${value.bytes} bytes or more`);
  const found = value instanceof Uint8Array ? "bytes that are not UTF-8" : kindOf(value);
  return invalid(`${expected} a text ${where}, got ${found}`);
}

function tooLong(message: string): Row {
  return { error: { code: "RECORD_TOO_LARGE", message } };
}

function tooLongToKeep(values: readonly (readonly [string, unknown])[], where: string): Row["error"] {
  const found = values.find(([, value]) => value instanceof LongValue);
  return found && tooLong(`${where}: column ${quoted(found[0])} is too long to be kept`).error;
}

/** A text, number or boolean as text. Undefined for any other value. */
function textOf(value: unknown): { text: string; repaired?: true } | undefined {
  if (typeof value === "string") return { text: value };
  if (value instanceof RepairedText) return { text: value.text, repaired: true };
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean")
    return { text: String(value) };
  // Older writers do not mark texts. Bytes that are not UTF-8 are not a text: an image must not become an id.
  if (!(value instanceof Uint8Array) || !isUtf8(value)) return undefined;
  return { text: Buffer.from(value.buffer, value.byteOffset, value.length).toString("utf8") };
}

/** A value as JSON can represent it. */
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
