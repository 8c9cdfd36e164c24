import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { withoutCompression } from "../bytes/compressions.ts";
import { hasNamed } from "../item/resolve-columns.ts";
import { quoted } from "../source.ts";
import { CsvScanner } from "./csv-scanner.ts";
import type { Head } from "./head.ts";
import { arrayBegin, jsonShape, refuseOtherJson } from "./json/shape.ts";

const DELIMITERS = [",", ";", "\t", "|"];
/** A `.tsv` has another delimiter if that one gives at least this share of records with as many columns as the header. */
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

/** The extension of a name in lower case, without the dot and without the ending of a compression; "" if it has no extension. */
export function extensionOf(name: string): string {
  return /\.([^./\\]+)$/.exec(withoutCompression(name.toLowerCase()))?.[1] ?? "";
}

/** The format by the name of a file. A file named `.json` may be an array or JSONL: its content decides. */
export function formatOfName(name: string): ReadOptions["format"] {
  const extension = extensionOf(name);
  return Object.hasOwn(FORMATS, extension) ? FORMATS[extension]! : "auto";
}

/**
 * The options with format and delimiter resolved: as given, else by the name, else by the beginning of the input. By its content, an input is a
 * JSON array or JSONL if it begins like one; CSV if columns are requested or its header contains one of `names`; else plain lines, because
 * prose contains commas too.
 * @throws LabelmillError USAGE (invalid delimiter), COLUMN_NOT_FOUND (columns are requested of plain lines), INPUT_UNREADABLE (JSON that is not
 * a list of records)
 */
export function detectFormat(
  from: { name: string; label: string },
  head: Head,
  read: ReadOptions,
  names: readonly string[],
): ReadOptions {
  const given = read.delimiter;
  if (given !== null && !/^[\t\x20-\x7e]$/.test(given.replace('"', ""))) {
    const message = `expected one ASCII character other than a quote as the delimiter, got ${quoted(given)}`;
    throw new LabelmillError("USAGE", message);
  }
  const sep = sepLineOf(head.bytes);
  const requested = read.column ?? read.idColumn ?? read.keep[0] ?? read.where?.[0]?.column;
  const format = read.format === "auto" ? foundFormat() : read.format;
  if (format === "lines" && requested !== undefined) {
    const fix = "read it as a table with --format csv or --format jsonl";
    const message = `${from.label} is read as plain lines, which have no columns: there is no column ${quoted(requested)}; ${fix}`;
    throw new LabelmillError("COLUMN_NOT_FOUND", message);
  }
  if (format !== "csv") return { ...read, format, delimiter: null };
  if (sep !== undefined && given !== null && given !== sep.delimiter) {
    const message = `${from.label} has ${quoted(`sep=${sep.delimiter}`)} in its first line, but --delimiter is ${quoted(given)}: omit --delimiter`;
    throw new LabelmillError("USAGE", message);
  }
  return { ...read, format, delimiter: given ?? sep?.delimiter ?? delimiterOf(head, extensionOf(from.name)) };

  function foundFormat(): ReadOptions["format"] {
    const named = formatOfName(from.name);
    if (named !== "auto" && named !== "json" && named !== "jsonl") return named;
    const shape = jsonShape(head);
    if (shape === "array") return "json";
    if (shape === "object") refuseOtherJson(from.label, head);
    if (named === "jsonl" || shape === "lines") return "jsonl";
    if (named === "json" && arrayBegin(head.bytes) !== undefined) return "json";
    if (named === "json" && isText(head)) refuseOtherJson(from.label, head);
    // It is empty or binary: the caller reports that.
    if (named === "json") return "jsonl";
    if (given !== null || requested !== undefined || sep !== undefined) return "csv";
    return bestDelimiter(head, names) === undefined ? "lines" : "csv";
  }
}

/**
 * Whether an input with NUL characters has the format nevertheless: it begins like JSON, or its header has a requested or known column.
 * Plain lines cannot be recognised.
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

/** The first line `sep=;` that Excel writes: its delimiter, and its length in bytes with the line break. */
export function sepLineOf(head: Buffer): { delimiter: string; bytes: number } | undefined {
  const found = /^"?sep=([\t\x20\x21\x23-\x7e])"?(?:\r\n|\r|\n)/i.exec(head.toString("latin1", 0, 16));
  return found ? { delimiter: found[1]!, bytes: found[0].length } : undefined;
}

/** The delimiter of a `.tsv` is the tab, unless its header has none and another delimiter gives nearly all records the same width. */
function delimiterOf(head: Head, extension: string): string {
  const best = bestDelimiter(head);
  if (extension !== "tsv") return best?.delimiter ?? ",";
  if (best === undefined || cut(head, "\t").header.length > 1) return "\t";
  return best.share >= EVEN_SHARE ? best.delimiter : "\t";
}

/**
 * The delimiter that gives most records as many columns as the first one, at least two. In a tie, the one that gives more columns.
 * @param names if given, the first record must contain one of them
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

/** Parses the head with a delimiter: its header, the number of records (with the header), and how many of them are as wide as the header. */
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
  // If the head is only a part of the input, its last record may be cut off.
  if (whole) count(scanner.end());
  return { header, records, even };
}
