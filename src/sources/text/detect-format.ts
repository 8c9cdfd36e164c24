import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { hasNamed } from "../item/resolve-columns.ts";
import { quoted } from "../source.ts";
import { CsvScanner } from "./csv-scanner.ts";
import type { Head } from "./head.ts";
import { arrayBegin, jsonShape, refuseOtherJson } from "./json/shape.ts";

const DELIMITERS = [",", ";", "\t", "|"];
/** The share of records as wide as the header above which a `.tsv` is one with another delimiter than its name says. */
const EVEN_SHARE = 0.9;
const FORMATS: Record<string, ReadOptions["format"]> = {
  csv: "csv",
  tsv: "csv",
  json: "json",
  jsonl: "jsonl",
  parquet: "parquet",
  pq: "parquet",
  arrow: "arrow",
  arrows: "arrow",
  feather: "arrow",
  ipc: "arrow",
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

/** What the name of a file says of its format; of `json` the content says whether it is an array or JSONL. */
export function formatOfName(name: string): ReadOptions["format"] {
  const extension = extensionOf(name);
  return Object.hasOwn(FORMATS, extension) ? FORMATS[extension]! : "auto";
}

/**
 * The options with format and delimiter found: as told, else by the name, else by the input's beginning. By its content an
 * input is a JSON array or JSONL if it begins so, CSV if columns were asked for or its header holds one of `names`,
 * else plain lines: a comma in prose makes no table.
 * @throws LabelmillError USAGE (a delimiter that cannot be one), COLUMN_NOT_FOUND (columns are asked of plain lines), INPUT_UNREADABLE
 * (JSON that is no list of records)
 */
export function detectFormat(
  from: { name: string; label: string },
  head: Head,
  read: ReadOptions,
  names: readonly string[],
): ReadOptions {
  const told = read.delimiter;
  if (told !== null && !/^[\t\x20-\x7e]$/.test(told.replace('"', ""))) {
    const came = quoted(told);
    throw new LabelmillError("USAGE", `expected one ASCII character other than a quote as the delimiter, came ${came}`);
  }
  const sep = sepLineOf(head.bytes);
  const asked = read.column ?? read.idColumn ?? read.keep[0] ?? read.where?.[0]?.column;
  const format = read.format === "auto" ? foundFormat() : read.format;
  if (format === "lines" && asked !== undefined) {
    const mend = "read it as a table with --format csv or --format jsonl";
    const message = `${from.label} is read as plain lines, which have no columns, so there is no ${quoted(asked)}; ${mend}`;
    throw new LabelmillError("COLUMN_NOT_FOUND", message);
  }
  if (format !== "csv") return { ...read, format, delimiter: null };
  if (sep !== undefined && told !== null && told !== sep.delimiter) {
    const message = `${from.label} says ${quoted(`sep=${sep.delimiter}`)} in its first line, but the delimiter ${quoted(told)} was given: leave --delimiter out`;
    throw new LabelmillError("USAGE", message);
  }
  return { ...read, format, delimiter: told ?? sep?.delimiter ?? delimiterOf(head, extensionOf(from.name)) };

  function foundFormat(): ReadOptions["format"] {
    const named = formatOfName(from.name);
    if (named !== "auto" && named !== "json" && named !== "jsonl") return named;
    const shape = jsonShape(head);
    if (shape === "array") return "json";
    if (shape === "object") refuseOtherJson(from.label, head);
    if (named === "jsonl" || shape === "lines") return "jsonl";
    if (named === "json" && arrayBegin(head.bytes) !== undefined) return "json";
    if (named === "json" && isText(head)) refuseOtherJson(from.label, head);
    // It is empty, or binary: the caller says so.
    if (named === "json") return "jsonl";
    if (told !== null || asked !== undefined || sep !== undefined) return "csv";
    return bestDelimiter(head, names) === undefined ? "lines" : "csv";
  }
}

/**
 * Whether a head that holds NULs is of the format all the same: it begins as JSON does, or its header has a column that is
 * asked for or known. Plain lines may be anything.
 */
export function isRecognised({ bytes }: Head, read: ReadOptions, names: readonly string[]): boolean {
  const { format, delimiter, column, idColumn, keep } = read;
  if (format === "jsonl" || format === "json") return /^\s*[[{]/.test(bytes.toString("latin1", 0, 4096));
  if (format !== "csv") return false;
  const { header } = cut({ bytes, whole: true }, delimiter!);
  const wanted = [column, idColumn, ...keep].filter((name) => name !== null);
  return wanted.length > 0 ? wanted.some((name) => header.includes(name)) : hasNamed(header, names);
}

function isText({ bytes, whole }: Head): boolean {
  return !bytes.includes(0) && !(whole && bytes.toString().trim() === "");
}

/** Excel's first line `sep=;`: the delimiter that it says, and the line's bytes with its line break. */
export function sepLineOf(head: Buffer): { delimiter: string; bytes: number } | undefined {
  const found = /^"?sep=([\t\x20\x21\x23-\x7e])"?(?:\r\n|\r|\n)/i.exec(head.toString("latin1", 0, 16));
  return found ? { delimiter: found[1]!, bytes: found[0].length } : undefined;
}

/** A `.tsv` has tabs, unless its header has none and another delimiter cuts nearly all records evenly. */
function delimiterOf(head: Head, extension: string): string {
  const best = bestDelimiter(head);
  if (extension !== "tsv") return best?.delimiter ?? ",";
  if (best === undefined || cut(head, "\t").header.length > 1) return "\t";
  return best.share >= EVEN_SHARE ? best.delimiter : "\t";
}

/**
 * The delimiter that cuts most of the records into as many columns as the first, at least two; among equals the one that gives more
 * columns. With `names`, only those by which the first record holds one of them.
 */
function bestDelimiter(head: Head, names?: readonly string[]): { delimiter: string; share: number } | undefined {
  let best: { delimiter: string; share: number; columns: number } | undefined;
  for (const delimiter of DELIMITERS) {
    const { header, records, even } = cut(head, delimiter);
    const columns = header.length;
    if (columns < 2 || (names !== undefined && !hasNamed(header, names))) continue;
    const share = even / records;
    if (best === undefined || share > best.share || (share === best.share && columns > best.columns)) {
      best = { delimiter, share, columns };
    }
  }
  return best;
}

/** How the head reads with a delimiter: its header, the records in it (header included), and how many are as wide as the header. */
function cut({ bytes, whole }: Head, delimiter: string): { header: string[]; records: number; even: number } {
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
  count(scanner.push(bytes));
  // Where the head is only a part of the input, its last record may be cut off.
  if (whole) count(scanner.end());
  return { header, records, even };
}
