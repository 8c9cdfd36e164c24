import { basename, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import type { ReadOptions } from "../schemas/input.ts";
import { parseS3Uri } from "../storage/s3-uri.ts";
import { MAGIC_BYTES, Peekable, plainTextStart, utf8Bytes } from "./bytes.ts";
import { detectFormat, HEAD_BYTES } from "./detect.ts";
import type { Origin } from "./origin.ts";
import { type Row, type RowReader, readerOf, type Wanted } from "./rows.ts";
import { isS3Uri } from "./s3-origin.ts";
import { recordsIn } from "./scanner.ts";
import { MAX_ID_LENGTH, type Source, type SourceRecord } from "./source.ts";
import { textSplitter } from "./text-splitter.ts";
import { BrokenInput } from "./unpack.ts";

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
  const raw = new Peekable(origin.bytes());
  const start = plainTextStart(await raw.peek(MAGIC_BYTES));
  const bytes = new Peekable(utf8Bytes(raw));
  const head = await bytes.peek(HEAD_BYTES);
  const asked = { ...wanted, label: origin.label };
  let reader: RowReader;
  let rows: AsyncGenerator<SourceRecord>;
  const first: SourceRecord[] = [];
  try {
    reader = readerOf(detectFormat(origin, head, read, wanted.names), asked);
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
  const { header } = reader;
  return {
    input,
    read: reader.read,
    async *records() {
      yield* readRows(utf8Bytes(origin.bytes()), readerOf(reader.read, asked, {}), origin, toItem);
      await origin.checkUnchanged();
    },
    ...(start === undefined ? {} : { splitter: textSplitter(origin, reader.read, asked, { start, header }) }),
  };
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
  const name = idNameOf(origin.input.uri);
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

/** What ids made from an input's name begin with: that of the file itself, whatever links led to it. */
export function idNameOf(uri: string): string {
  if (uri.startsWith("file:")) return basename(fileURLToPath(uri));
  return isS3Uri(uri) ? posix.basename(parseS3Uri(uri).key) : "stdin";
}

/** The record that a row becomes; `line`: where there are lines; `name`: idNameOf its input. */
export function toRecord(
  row: Row,
  line: number | undefined,
  record: number,
  name: string,
  toItem: ToItem,
): SourceRecord {
  const id = row.id === undefined || row.id === "" ? `${name}#${record}` : row.id;
  const item: SourceRecord = { record, ...(line === undefined ? {} : { line }), id: cutId(id) };
  if (row.skipped) item.skipped = true;
  if (row.error !== undefined) item.error = row.error;
  if (row.input !== undefined) item.input = row.input;
  if (row.repaired) item.repaired = true;
  if (row.value !== undefined && row.error === undefined) Object.assign(item, toItem(row as Row & { value: string }));
  return item;
}

function cutId(id: string): string {
  return id.slice(0, MAX_ID_LENGTH).toWellFormed();
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
