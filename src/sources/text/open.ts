import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { BrokenInput } from "../bytes/compressions.ts";
import { EmptyInput } from "../bytes/empty-input.ts";
import type { Origin } from "../bytes/origin.ts";
import { Peekable } from "../bytes/peekable.ts";
import { MAGIC_BYTES, plainTextStart, utf8Bytes, without } from "../bytes/utf8.ts";
import { idNameOf, type ToItem, toRecord } from "../item/record.ts";
import { resolveColumns, wantedOf } from "../item/resolve-columns.ts";
import type { Row } from "../item/row.ts";
import { quoted, type Source, type SourceRecord } from "../source.ts";
import { detectFormat, extensionOf, formatOfName, isRecognised, sepLineOf } from "./detect-format.ts";
import { type Head, headOf, holdsRecords } from "./head.ts";
import { byRecords, type JsonColumns, jsonColumns } from "./json/columns.ts";
import { arrayBegin } from "./json/shape.ts";
import { refuseKnownBinary, refuseNuls } from "./refuse-binary.ts";
import { type RowReader, readerOf, type Wanted } from "./row-reader.ts";
import { recordsIn } from "./scanner.ts";
import { textSplitter } from "./splitter.ts";

/**
 * Opens a table (CSV, JSONL, a JSON array) or plain lines: detects the format and reads the first record. Later, each bad record becomes an
 * error and reading continues. Compressed data that is cut off or corrupt becomes the error of a last record.
 * @throws LabelmillError INPUT_EMPTY (no record), INPUT_UNREADABLE (no header, no object, binary data), COLUMN_NOT_FOUND, COLUMN_AMBIGUOUS,
 * USAGE (the delimiter)
 */
export async function openText(
  origin: Origin,
  read: ReadOptions,
  wanted: Omit<Wanted, "label">,
  toItem: ToItem,
): Promise<Source> {
  const raw = new Peekable(origin.bytes());
  const start = plainTextStart(await raw.peek(MAGIC_BYTES));
  const bytes = new Peekable(utf8Bytes(raw));
  const named = { ...wanted, label: origin.label };
  let found: Found;
  let reader: RowReader;
  let rows: AsyncGenerator<SourceRecord>;
  let first: SourceRecord;
  try {
    found = await detect(bytes, origin, read, wanted.names);
    const { begin } = found;
    reader = readerOf(found.read, named, { at: { position: 0, line: begin.line } });
    rows = readRows(without(bytes, begin.position), reader, origin, toItem);
    const { value, done } = await rows.next();
    if (done) throw new EmptyInput(`${origin.label} has no records`);
    first = value;
    checkFirst(reader, first, found, origin);
  } catch (error) {
    await bytes.close();
    throw error;
  }
  const { input } = origin;
  if (origin.once) return { input, read: reader.read, records: once(first, rows) };
  await rows.return(undefined);
  const { header } = reader;
  const { position, line } = found.begin;
  return {
    input,
    read: reader.read,
    async *records(idName) {
      const again = readerOf(reader.read, named, { at: { position: 0, line } });
      yield* readRows(without(utf8Bytes(origin.bytes()), position), again, origin, toItem, idName);
      await origin.checkUnchanged();
    },
    ...(start === undefined
      ? {}
      : {
          splitter: textSplitter(origin, reader.read, named, { begin: { position: start + position, line }, header }),
        }),
  };
}

/** How an input is read. `begin`: where its header or records begin in the text. `json`: the keys of its first records. */
type Found = { read: ReadOptions; begin: { position: number; line: number }; json?: JsonColumns };

async function detect(bytes: Peekable, origin: Origin, read: ReadOptions, names: readonly string[]): Promise<Found> {
  const { label } = origin;
  const isAuto = read.format === "auto";
  // Plain lines need no larger head. JSON reads a larger one later, if it needs one to find the columns.
  const isTable = !["lines", "jsonl", "json"].includes(
    read.format === "auto" ? formatOfName(origin.name) : read.format,
  );
  const head = await headOf(bytes, (longer) => !isTable || holdsRecords(longer));
  if (isAuto) refuseKnownBinary(label, head.bytes);
  const found = detectFormat(origin, head, read, names);
  if (isAuto && head.bytes.includes(0) && !isRecognised(head, found, names))
    refuseNuls(label, head.bytes, formatOfName(origin.name) === "lines");
  const begin = beginOf(head, found, label);
  if (found.format !== "json" && found.format !== "jsonl") return { read: found, begin };
  const columnsOf = (of: Head): JsonColumns => jsonColumns(of, found, names, begin);
  const json = columnsOf(await headOf(bytes, (longer) => columnsOf(longer).isEnough));
  // If the column is given and no record is an object, each record reports that.
  if (json.objects === 0) return { read: found, begin, json };
  const resolved = resolveColumns(json.columns, found, byRecords(json, names, label), label);
  const twice = wantedOf(resolved).find((name) => json.twice.has(name));
  if (twice === undefined) return { read: resolved, begin, json };
  const message = `${label} has a record with two values of ${quoted(twice)}: write each key once`;
  throw new LabelmillError("COLUMN_AMBIGUOUS", message);
}

/** Where the header or the first record begins: after Excel's `sep=` line, or after the opening bracket of an array. */
function beginOf({ bytes }: Head, { format }: ReadOptions, label: string): Found["begin"] {
  if (format === "csv") {
    const sep = sepLineOf(bytes);
    return sep ? { position: sep.bytes, line: 2 } : { position: 0, line: 1 };
  }
  if (format !== "json") return { position: 0, line: 1 };
  const begin = arrayBegin(bytes);
  if (begin !== undefined) return begin;
  throw new LabelmillError("INPUT_UNREADABLE", `${label}: expected a JSON array of records, which begins with [`);
}

function checkFirst(reader: RowReader, first: SourceRecord, { read, json }: Found, { label, name }: Origin): void {
  const why = first.error?.message ?? "";
  if (!reader.ready) throw new LabelmillError("INPUT_UNREADABLE", `${label}: ${why}`);
  if (json === undefined) return;
  // JSONL with a given column may be bad in all its lines: each of them reports that.
  if (json.objects === 0 && (read.column === null || read.format === "json")) {
    const fix = read.format === "jsonl" ? "; if each line is a text, add --format lines" : "";
    const message = `${label}: none of the first ${Math.max(1, json.records)} records can be read; ${why}${fix}`;
    throw new LabelmillError("INPUT_UNREADABLE", message);
  }
  if (extensionOf(name) === "json" && read.format === "jsonl" && json.isWhole && json.records === 1 && why !== "") {
    const fix = "extract the list of records (jq '.NAME')";
    throw new LabelmillError(
      "INPUT_UNREADABLE",
      `${label}: expected a list of records, got one JSON object: ${why}; ${fix}`,
    );
  }
}

async function* readRows(
  bytes: AsyncIterable<Buffer>,
  reader: RowReader,
  origin: Origin,
  toItem: ToItem,
  name = idNameOf(origin.input.uri),
): AsyncGenerator<SourceRecord> {
  const { scanner } = reader;
  let record = 0;
  try {
    for await (const chunk of bytes) {
      scanner.append(chunk);
      yield* records(false);
    }
    yield* records(true);
  } catch (error) {
    if (!(error instanceof BrokenInput)) throw error;
    const message = `line ${scanner.line}: the input ends here: ${error.message}`;
    const row: Row = { error: { code: "RECORD_INVALID", message } };
    yield toRecord(row, scanner.line, record, name, toItem);
  }

  function* records(last: boolean): Generator<SourceRecord> {
    for (const raw of recordsIn(scanner, last)) {
      const row = reader.take(raw);
      if (row !== undefined) yield toRecord(row, raw.line, record++, name, toItem);
    }
  }
}

function once(first: SourceRecord, rest: AsyncGenerator<SourceRecord>): () => AsyncIterable<SourceRecord> {
  let hasBegun = false;
  return async function* () {
    if (hasBegun) throw new LabelmillError("INPUT_UNREADABLE", "standard input can be read only once");
    hasBegun = true;
    try {
      yield first;
      yield* rest;
    } finally {
      await rest.return(undefined);
    }
  };
}
