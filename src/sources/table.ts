import { LabelmillError } from "../errors.ts";
import type { ReadOptions } from "../schemas/input.ts";
import { BrokenInput, Peekable, utf8Bytes } from "./bytes.ts";
import { detectFormat, HEAD_BYTES } from "./detect.ts";
import type { Origin } from "./origin.ts";
import { csvReader, jsonlReader, linesReader, type Row, type RowReader, type Wanted } from "./rows.ts";
import { MAX_ID_LENGTH, type Source, type SourceRecord } from "./source.ts";

/** How many records are searched for the first JSON object. */
const HEAD_RECORDS = 1000;

/** What becomes of a row that has a value; undefined fields are left out. */
export type ToItem = (row: Row & { value: string }) => Partial<SourceRecord>;

/**
 * Opens a table (CSV, JSONL) or plain lines: finds out how it is to be read and reads as far as its first good record.
 * Fails with INPUT_EMPTY (no record), INPUT_UNREADABLE (no header, nothing that is an object), COLUMN_NOT_FOUND, USAGE (the
 * delimiter). Afterwards a bad record is an error of its own and reading goes on; an archive that breaks is the last record.
 */
export async function openTable(
  origin: Origin,
  read: ReadOptions,
  wanted: Omit<Wanted, "label">,
  toItem: ToItem,
): Promise<Source> {
  const bytes = new Peekable(utf8Bytes(origin.bytes()));
  const head = await bytes.peek(HEAD_BYTES);
  const asked = { ...wanted, label: origin.label };
  let reader: RowReader;
  let rows: AsyncGenerator<SourceRecord>;
  const first: SourceRecord[] = [];
  try {
    reader = readerOf(detectFormat(origin, head, read, wanted.names), asked, false);
    rows = readRows(bytes, reader, origin, toItem);
    do {
      const { value, done } = await rows.next();
      if (done) break;
      first.push(value);
    } while (!reader.ready && first.length < HEAD_RECORDS);
    checkFirst(reader, first, origin.label);
  } catch (error) {
    await bytes.close();
    throw error;
  }
  reader.ready = true;
  const { input } = origin;
  if (origin.once) return { input, read: reader.read, records: once(first, rows) };
  await rows.return(undefined);
  return {
    input,
    read: reader.read,
    async *records() {
      yield* readRows(utf8Bytes(origin.bytes()), readerOf(reader.read, asked, true), origin, toItem);
      await origin.checkUnchanged();
    },
  };
}

function readerOf(read: ReadOptions, wanted: Wanted, settled: boolean): RowReader {
  if (read.format === "csv") return csvReader(read, wanted);
  return read.format === "jsonl" ? jsonlReader(read, wanted, settled) : linesReader(read, wanted);
}

function checkFirst(reader: RowReader, first: readonly SourceRecord[], label: string): void {
  if (first.length === 0) throw new LabelmillError("INPUT_EMPTY", `${label} has no records`);
  // JSONL whose column is told may be bad in all its lines: each of them says so.
  if (reader.ready || (reader.read.column !== null && reader.read.format === "jsonl")) return;
  const why = first[0]!.error!.message;
  throw new LabelmillError(
    "INPUT_UNREADABLE",
    `${label}: none of the first ${first.length} records can be read; ${why}`,
  );
}

async function* readRows(
  bytes: AsyncIterable<Buffer>,
  reader: RowReader,
  origin: Origin,
  toItem: ToItem,
): AsyncGenerator<SourceRecord> {
  const { scanner } = reader;
  let record = 0;
  try {
    for await (const chunk of bytes) {
      for (const raw of scanner.push(chunk)) {
        const row = reader.take(raw);
        if (row !== undefined) yield toRecord(row, raw.line, record++, origin.name, toItem);
      }
    }
    for (const raw of scanner.end()) {
      const row = reader.take(raw);
      if (row !== undefined) yield toRecord(row, raw.line, record++, origin.name, toItem);
    }
  } catch (error) {
    if (!(error instanceof BrokenInput)) throw error;
    const message = `line ${scanner.line}: the input ends here: ${error.message}`;
    const row: Row = { error: { code: "RECORD_INVALID", message } };
    yield toRecord(row, scanner.line, record, origin.name, toItem);
  }
}

function toRecord(row: Row, line: number, record: number, name: string, toItem: ToItem): SourceRecord {
  const id = row.id === undefined || row.id === "" ? `${name}#${record}` : row.id;
  const item: SourceRecord = { record, line, id: id.slice(0, MAX_ID_LENGTH).toWellFormed() };
  if (row.error !== undefined) item.error = row.error;
  if (row.input !== undefined) item.input = row.input;
  if (row.repaired) item.repaired = true;
  if (row.value !== undefined && row.error === undefined) Object.assign(item, toItem(row as Row & { value: string }));
  return item;
}

function once(first: readonly SourceRecord[], rest: AsyncGenerator<SourceRecord>): () => AsyncIterable<SourceRecord> {
  let begun = false;
  return async function* () {
    if (begun) throw new LabelmillError("INPUT_UNREADABLE", "standard input can be read once only");
    begun = true;
    try {
      yield* first;
      yield* rest;
    } finally {
      await rest.return(undefined);
    }
  };
}
