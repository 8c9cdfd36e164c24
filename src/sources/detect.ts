import { LabelmillError } from "../errors.ts";
import type { ReadOptions } from "../schemas/input.ts";
import { findNamed } from "./columns.ts";
import { CsvScanner } from "./csv.ts";
import { quoted } from "./source.ts";

/** How much of an input's beginning is looked at, in bytes. */
export const HEAD_BYTES = 64 * 1024;

const DELIMITERS = [",", ";", "\t", "|"];
const FORMATS: Record<string, ReadOptions["format"]> = {
  csv: "csv",
  tsv: "csv",
  jsonl: "jsonl",
  parquet: "parquet",
  pq: "parquet",
  ndjson: "jsonl",
  txt: "lines",
  text: "lines",
  lst: "lines",
  log: "lines",
};

/** The name's extension in lower case, without its dot, that of the packed file for a `.gz` or `.zst`; "" where there is none. */
export function extensionOf(name: string): string {
  return /\.([^./\\]+)$/.exec(name.toLowerCase().replace(/\.(gz|zst)$/, ""))?.[1] ?? "";
}

/** What the name of a file says of its format. */
export function formatOfName(name: string): ReadOptions["format"] {
  const extension = extensionOf(name);
  return Object.hasOwn(FORMATS, extension) ? FORMATS[extension]! : "auto";
}

/**
 * The options with format and delimiter found: as told, else by the name, else by the input's first 64 KiB. By its content an
 * input is JSONL if its first line begins an object, CSV if columns were asked for or its header holds one of `names`,
 * else plain lines: a comma in prose makes no table. Fails with USAGE on a delimiter that cannot be one, and with
 * COLUMN_NOT_FOUND where columns are asked of plain lines.
 */
export function detectFormat(
  from: { name: string; label: string },
  head: Buffer,
  read: ReadOptions,
  names: readonly string[],
): ReadOptions {
  const told = read.delimiter;
  if (told !== null && !/^[\t\x20-\x7e]$/.test(told.replace('"', ""))) {
    const came = quoted(told);
    throw new LabelmillError("USAGE", `expected one ASCII character other than a quote as the delimiter, came ${came}`);
  }
  let format = read.format === "auto" ? formatOfName(from.name) : read.format;
  const asked = read.column ?? read.idColumn ?? read.keep[0] ?? read.where?.[0]?.column;
  if (format === "auto") {
    if (/^\s*\{/.test(head.toString("latin1", 0, 4096))) format = "jsonl";
    else if (told !== null || asked !== undefined) format = "csv";
    else format = bestDelimiter(head, names) === undefined ? "lines" : "csv";
  }
  if (format === "lines" && asked !== undefined) {
    const mend = "read it as a table with --format csv or --format jsonl";
    const message = `${from.label} is read as plain lines, which have no columns, so there is no ${quoted(asked)}; ${mend}`;
    throw new LabelmillError("COLUMN_NOT_FOUND", message);
  }
  if (format !== "csv") return { ...read, format, delimiter: null };
  const delimiter = told ?? (extensionOf(from.name) === "tsv" ? "\t" : (bestDelimiter(head) ?? ","));
  return { ...read, format, delimiter };
}

/**
 * The delimiter that cuts most of the records into as many columns as the first, at least two; among equals the one that gives more
 * columns. With `names`, only those by which the first record holds one of them.
 */
function bestDelimiter(head: Buffer, names?: readonly string[]): string | undefined {
  let best: { delimiter: string; share: number; columns: number } | undefined;
  for (const delimiter of DELIMITERS) {
    const { header, records, even } = cut(head, delimiter);
    const columns = header.length;
    if (columns < 2 || (names !== undefined && findNamed(header, names) === undefined)) continue;
    const share = even / records;
    if (best === undefined || share > best.share || (share === best.share && columns > best.columns)) {
      best = { delimiter, share, columns };
    }
  }
  return best?.delimiter;
}

/** How the head reads with a delimiter: its header, the records in it (header included), and how many are as wide as the header. */
function cut(head: Buffer, delimiter: string): { header: string[]; records: number; even: number } {
  const scanner = new CsvScanner(delimiter);
  let header: string[] = [];
  let records = 0;
  let even = 0;
  const count = (found: Iterable<ReturnType<CsvScanner["push"]> extends Iterable<infer R> ? R : never>): void => {
    for (const record of found) {
      if (records === 0 && "fields" in record) header = record.fields.map((name) => name.trim());
      scanner.pick = [];
      records++;
      if ("count" in record && record.count === header.length) even++;
    }
  };
  count(scanner.push(head.subarray(0, HEAD_BYTES)));
  // Where the head is only a part of the input, its last record may be cut off.
  if (head.length < HEAD_BYTES) count(scanner.end());
  return { header, records, even };
}
