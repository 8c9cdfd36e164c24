import { setImmediate as turn } from "node:timers/promises";
import type { Dictionary } from "apache-arrow";
import { LabelmillError, messageOf } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey, ENTRY_BYTES } from "../bytes/cache-key.ts";
import type { Origin } from "../bytes/origin.ts";
import type { Window } from "../columnar/splitter.ts";
import { type Cells, LongValue } from "../item/cell-values.ts";
import { quoted } from "../source.ts";
import type { Batch } from "./batches.ts";
import { BatchBuffers, type BufferForms } from "./buffers.ts";
import { Dictionaries } from "./dictionaries.ts";
import { type ArrowSchema, placesOf, readAhead } from "./file.ts";
import { type ColumnLayout, dictionaryIds, layoutOf, TYPE } from "./layout.ts";
import { Budget, type Load, loadColumn, type ReadValue, TooManyBytes } from "./load-column.ts";
import { type BatchHeader, readMessage, unreadable } from "./messages.ts";
import { sharedBytes } from "./shared-views.ts";

/** Rows of a window, and their average bytes. Many slices are cut from one window. */
const WINDOW_ROWS = 8 * 1024;
const WINDOW_BYTES = 8 << 20;
/** The most bytes of a window whose rows are longer than the average. */
const MAX_WINDOW_BYTES = 32 << 20;

/** Rows of a batch that may take less than a bit each in the needed columns, such as nulls without a type. */
const FREE_ROWS = 1000;

/** Memory that a loaded column takes in addition to its bytes: views of its buffers and readers. Nested columns count too. */
const COLUMN_BYTES = 2048;

/** A batch, and the offsets of its dictionaries' messages. */
export type BatchPlace = Batch & { dictionaries: readonly number[] };

/** Readable columns of an input. */
export type ArrowColumns = { origin: Origin; schema: ArrowSchema; names: readonly string[]; places: readonly number[] };

/** The needed columns of a batch, and the average uncompressed bytes of a row in them. */
type OpenBatch = { header: BatchHeader; forms: BufferForms; columns: readonly ColumnLayout[]; rowBytes: number };
type Loaded = { columns: readonly Cells[]; bytes: number };

const batches = new ByteCache<OpenBatch>(16 << 20, ({ header }) => ENTRY_BYTES + 512 * header.buffers.length);
/** A worker reads the slices of one batch in turn, so recent windows are kept. */
const windows = new ByteCache<Loaded>(96 << 20, ({ bytes }) => bytes);

export function columnsOf(origin: Origin, schema: ArrowSchema, names: readonly string[]): ArrowColumns {
  return { origin, schema, names, places: placesOf(origin, schema, names) };
}

/** The needed columns of a batch. @throws LabelmillError INPUT_UNREADABLE if there is no batch at the offset, or it is corrupt */
export function openBatch(of: ArrowColumns, batch: Pick<BatchPlace, "at" | "dictionaries">): Promise<OpenBatch> {
  const { origin, schema, places } = of;
  return batches.get(cacheKey(origin, batch.at, batch.dictionaries, places), async () => {
    const message = await readMessage(origin, readAhead(origin), batch.at, origin.input.size!);
    if (message.kind !== "batch") throw unreadable(origin, `expected a record batch at byte ${batch.at}`);
    return await withPlace(origin, `the record batch at byte ${batch.at}`, async () => {
      const all = layoutOf(schema.columns, message.batch, schema.version);
      const columns = places.map((place) => all[place]!);
      const header = message.batch;
      const forms: BufferForms = new Map();
      const buffers = new BatchBuffers(origin, header, forms);
      const dictionaries = new Dictionaries(origin, schema, batch.dictionaries);
      let bytes = 0;
      for (const column of new Set(columns)) bytes += await bytesOf(column, buffers, dictionaries);
      // Rows without bytes do not make the file larger, but each costs a run as much as any other row.
      if (header.rows > 8 * bytes + FREE_ROWS)
        throw new Error(`expected more bytes for ${header.rows} rows, got ${bytes}`);
      return { header, forms, columns, rowBytes: bytes / Math.max(1, header.rows) };
    });
  });
}

/** Uncompressed bytes of a column. Each value of a dictionary counts as the longest: how often each is used is unknown. */
async function bytesOf(column: ColumnLayout, buffers: BatchBuffers, dictionaries: Dictionaries): Promise<number> {
  let bytes = 0;
  for (const index of column.buffers) bytes += await buffers.size(index);
  for (const child of column.children) bytes += await bytesOf(child, buffers, dictionaries);
  const { typeId } = column.type;
  if (typeId === TYPE.binaryView || typeId === TYPE.utf8View) return bytes + (await sharedBytes(column, buffers));
  if (typeId !== TYPE.dictionary) return bytes;
  return bytes + column.length * (await dictionaries.longest(column.type as Dictionary));
}

/** The needed columns of rows `first` to `end` (exclusive), in windows. A window never spans batches. */
export async function* arrowWindows(
  of: ArrowColumns,
  from: Iterable<BatchPlace>,
  { first, end }: { first: number; end: number },
): AsyncGenerator<Window> {
  for (const batch of from) {
    const batchEnd = batch.first + batch.rows;
    if (batchEnd <= first || batch.first >= end) continue;
    const { rowBytes } = await openBatch(of, batch);
    const size = Math.max(1, Math.min(WINDOW_ROWS, Math.floor(WINDOW_BYTES / Math.max(1, rowBytes))));
    const begin = batch.first + Math.floor((Math.max(first, batch.first) - batch.first) / size) * size;
    for (let at = begin; at < Math.min(end, batchEnd); at += size)
      yield* within(of, batch, at, Math.min(size, batchEnd - at), { first, end });
  }
}

/** The window. If its rows have too many bytes to be loaded at once, its halves. */
async function* within(
  of: ArrowColumns,
  batch: BatchPlace,
  at: number,
  rows: number,
  requested: { first: number; end: number },
): AsyncGenerator<Window> {
  if (at + rows <= requested.first || at >= requested.end) return;
  try {
    const { columns } = await loadedWindow(of, batch, at, rows);
    yield { first: at, from: Math.max(at, requested.first), to: Math.min(at + rows, requested.end), columns };
  } catch (error) {
    if (!(error instanceof TooManyBytes)) throw error;
    const half = Math.ceil(rows / 2);
    yield* within(of, batch, at, half, requested);
    yield* within(of, batch, at + half, rows - half, requested);
  }
  // A cached window does not wait for anything, but the event loop must run other tasks.
  await turn();
}

function loadedWindow(of: ArrowColumns, batch: BatchPlace, at: number, rows: number): Promise<Loaded> {
  const { origin, places } = of;
  const key = cacheKey(origin, batch.at, batch.dictionaries, at - batch.first, rows, places);
  return windows.get(key, () =>
    withPlace(origin, `rows ${at} to ${at + rows - 1}`, () => loadWindow(of, batch, at - batch.first, rows)),
  );
}

async function loadWindow(of: ArrowColumns, batch: BatchPlace, at: number, rows: number): Promise<Loaded> {
  const { header, forms, columns } = await openBatch(of, batch);
  const dictionaries = new Dictionaries(of.origin, of.schema, batch.dictionaries);
  const load: Load = {
    ...{ buffers: new BatchBuffers(of.origin, header, forms), limit: MAX_WINDOW_BYTES, loaded: 0, columns: 0 },
    dictionary: (type) => dictionaries.get(type),
  };
  const cells: Cells[] = [];
  for (const [index, column] of columns.entries()) {
    const what = `column ${quoted(of.names[index]!)}, rows from ${batch.first + at} on`;
    const read = await loadColumn(column, at, at + rows, load).catch((error: unknown) => {
      // A single row that is too long is an error of that row only.
      if (error instanceof TooManyBytes && rows === 1) return tooLong(error);
      throw error;
    });
    cells.push(cellsOf(of.origin, what, read));
  }
  return { columns: cells, bytes: ENTRY_BYTES + load.loaded + COLUMN_BYTES * load.columns };
}

function tooLong(error: TooManyBytes): ReadValue {
  return () => {
    throw error;
  };
}

function cellsOf(origin: Origin, what: string, read: ReadValue): Cells {
  return {
    at(index) {
      try {
        return read(index, new Budget());
      } catch (error) {
        if (error instanceof TooManyBytes) return new LongValue(error.bytes);
        throw broken(origin, what, error);
      }
    },
  };
}

/** Adds the place to an error. If the file was replaced, which may look corrupt, throws INPUT_CHANGED instead. */
async function withPlace<T>(origin: Origin, what: string, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof TooManyBytes) throw error;
    await origin.checkUnchanged();
    throw broken(origin, what, error);
  }
}

function broken(origin: Origin, what: string, error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  const why = messageOf(error).slice(0, 200);
  return unreadable(origin, `${what} cannot be read, the file is corrupt there: ${why}`, error);
}

/** Offsets of the messages of the dictionaries that the columns need. @param messages those that apply to a batch, by dictionary id */
export function neededDictionaries(
  { schema, places }: ArrowColumns,
  messages: (id: number) => readonly number[],
): number[] {
  const ids = new Set(places.flatMap((place) => dictionaryIds(schema.columns[place]!.type)));
  return [...ids].flatMap((id) => messages(id));
}
