import { setImmediate as turn } from "node:timers/promises";
import { type DecodedArray, type ParquetParsers, parquetScan } from "hyparquet";
import { LabelmillError, messageOf } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey } from "../bytes/cache-key.ts";
import type { Origin } from "../bytes/origin.ts";
import { readRange } from "../bytes/read-range.ts";
import type { Window } from "../columnar/splitter.ts";
import { dayOf, decodeText, instant } from "../item/cell-values.ts";
import { quoted } from "../source.ts";
import { parseJson } from "../text/json/parse.ts";
import { COMPRESSORS } from "./codecs.ts";
import { bytesPerRow, type Footer, unreadable } from "./footer.ts";

/** Rows of a window, and their uncompressed bytes: one or two pages. Many slices are cut from one window. */
const WINDOW_ROWS = 8 * 1024;
const WINDOW_BYTES = 8 << 20;
/** Memory that a decoded value takes in addition to its bytes. */
const VALUE_BYTES = 32;

type Decoded = { columns: readonly DecodedArray[]; bytes: number };

/** A worker reads the slices of one row group in turn, so recent column chunks and windows are kept: up to 224 MB in the process. */
const chunks = new ByteCache<ArrayBuffer>(128 << 20, (bytes) => bytes.byteLength);
const windows = new ByteCache<Decoded>(96 << 20, ({ bytes }) => bytes);

/** Dates and times become texts in ISO 8601. Values out of the range of dates become null. */
const PARSERS: Partial<ParquetParsers> = {
  timestampFromMilliseconds: (value) => timeOf(value, 1000n),
  timestampFromMicroseconds: (value) => timeOf(value, 1_000_000n),
  timestampFromNanoseconds: (value) => timeOf(value, 1_000_000_000n),
  dateFromDays: (days) => dayOf(days * 86_400_000),
  stringFromBytes: textOf,
  jsonFromBytes: jsonOf,
  geometryFromBytes: (bytes) => bytes,
  geographyFromBytes: (bytes) => bytes,
};

/** The named columns of rows `first` to `end` (exclusive), in windows. A window never spans row groups. */
export async function* windowsOf(
  origin: Origin,
  footer: Footer,
  names: readonly string[],
  { first, end }: { first: number; end: number },
): AsyncGenerator<Window> {
  const perRow = bytesPerRow(footer, names);
  for (const [index, group] of footer.groups.entries()) {
    const groupEnd = group.first + group.rows;
    if (groupEnd <= first || group.first >= end) continue;
    const size = Math.max(1, Math.min(WINDOW_ROWS, Math.floor(WINDOW_BYTES / Math.max(1, perRow[index]!))));
    const begin = group.first + Math.floor((Math.max(first, group.first) - group.first) / size) * size;
    for (let at = begin; at < Math.min(end, groupEnd); at += size) {
      const rows = Math.min(size, groupEnd - at);
      const { columns } = await unlessChanged(
        origin,
        windowAt(origin, footer, names, { at, rows, perRow: perRow[index]! }),
      );
      yield { first: at, from: Math.max(at, first), to: Math.min(at + rows, end), columns };
      // A cached window does not wait for anything, but the event loop must run other tasks.
      await turn();
    }
  }
}

/** A replaced file may look corrupt: then INPUT_CHANGED is thrown instead. */
async function unlessChanged<T>(origin: Origin, made: Promise<T>): Promise<T> {
  try {
    return await made;
  } catch (error) {
    await origin.checkUnchanged();
    throw error;
  }
}

type Place = { at: number; rows: number; perRow: number };

function windowAt(origin: Origin, footer: Footer, names: readonly string[], place: Place): Promise<Decoded> {
  return windows.get(cacheKey(origin, place.at, ...names), () => decode(origin, footer, names, place));
}

async function decode(
  origin: Origin,
  { metadata, exact }: Footer,
  names: readonly string[],
  { at, rows, perRow }: Place,
): Promise<Decoded> {
  const range = { rowStart: at, rowEnd: at + rows };
  const where = `rows ${at} to ${at + rows - 1}`;
  const scan = await parquetScan({
    file: { byteLength: origin.input.size!, slice: (start, end) => cachedRange(origin, start, end) },
    metadata,
    columns: [...new Set(names)],
    ...range,
    compressors: COMPRESSORS,
    parsers: PARSERS,
    utf8: false,
    geoparquet: false,
  }).catch((error: unknown) => Promise.reject(broken(origin, where, error)));
  const columns: DecodedArray[] = [];
  for (const column of names) {
    const what = `column ${quoted(column)}, ${where}`;
    const values = await scan
      .readColumn({ column, ...range })
      .catch((error: unknown) => Promise.reject(broken(origin, what, error)));
    if (values.length !== rows) throw broken(origin, what, new Error(`expected ${rows} values, got ${values.length}`));
    const reader = exact.get(column);
    columns.push(reader ? Array.from(values, reader) : values);
  }
  return { columns, bytes: Math.ceil(rows * (perRow + names.length * VALUE_BYTES)) };
}

function cachedRange(origin: Origin, start: number, end = origin.input.size!): Promise<ArrayBuffer> {
  const size = origin.input.size!;
  // The offsets of pages come from the file and are not trusted.
  if (!(start >= 0 && start <= end && end <= size))
    throw unreadable(origin, `expected pages within ${size} bytes, got ${start} to ${end} in its index`);
  return chunks.get(cacheKey(origin, start, end), () => readRange(origin, start, end));
}

function broken(origin: Origin, what: string, error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  return unreadable(
    origin,
    `${what} cannot be read, the file is corrupt there: ${messageOf(error).slice(0, 200)}`,
    error,
  );
}

function textOf(bytes: Uint8Array): unknown {
  // Nulls are not bytes.
  return bytes instanceof Uint8Array ? decodeText(bytes) : bytes;
}

/** Content that is not valid JSON stays a text. */
function jsonOf(bytes: Uint8Array): unknown {
  const text = textOf(bytes);
  if (typeof text !== "string") return text;
  const value = parseJson(text);
  return value === undefined ? text : value;
}

function timeOf(value: bigint, perSecond: bigint): string | null {
  return typeof value === "bigint" ? instant(value, perSecond) : value;
}
