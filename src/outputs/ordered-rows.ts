import { LabelmillError } from "../errors.ts";
import { decodeDataFile, decodeJsonRows } from "../rows/data-file.ts";
import { type FileRow, fileRowOf } from "../rows/file-row.ts";
import { jsonLines } from "../rows/json-lines.ts";
import { readPart } from "../rows/part.ts";
import { type FileLine, FileLineSchema } from "../schemas/manifest.ts";
import { FILES_FILE, partKey } from "../schemas/names.ts";
import type { Row } from "../schemas/row.ts";
import type { RunFile } from "../schemas/run.ts";
import type { ReadableStore } from "../storage/store.ts";
import { readFinished } from "./output.ts";

/** The rows of slices `first` to `last`, in the order of the plan. */
export type OrderedRows = { first: number; last: number; rows: FileRow[] };

/**
 * Reads the rows of a finished run in the order of the plan: from its parts, one slice at a time, or from the files
 * that were made of them, one range of slices at a time. One slice or range is in memory at a time.
 * @param onlyErrors leaves out labeled rows
 * @throws LabelmillError RUN_FAILED (the run is not finished), PART_MISMATCH
 */
export async function* orderedRows(store: ReadableStore, onlyErrors: boolean): AsyncGenerator<OrderedRows> {
  const { runFile, manifest } = await readFinished(store);
  const isWanted = ({ errorCode }: FileRow) => !onlyErrors || errorCode !== undefined;
  if (manifest.filesSha256 !== undefined) {
    yield* rowsOfFiles(store, runFile, isWanted, onlyErrors);
    return;
  }
  for (let slice = 0; slice < manifest.totals.slices; slice++) {
    const { rows } = readPart(await store.get(partKey(runFile.run, slice)));
    yield { first: slice, last: slice, rows: rows.map(fileRowOf).filter(isWanted) };
  }
}

function rowsOfFiles(
  store: ReadableStore,
  { spec: { output }, inputs }: RunFile,
  isWanted: (row: FileRow) => boolean,
  onlyErrors: boolean,
): AsyncGenerator<OrderedRows> {
  const files = new FilesInOrder<FileRow>(
    inputs,
    (bytes) => decodeDataFile(bytes, output),
    (row) => row,
  );
  const isOther = ({ partition, errors }: FileLine) => (partition ? true : output.errors === "apart" && !errors);
  return files.read(store, (line) => !onlyErrors || !isOther(line), isWanted);
}

/**
 * The whole rows of a finished run whose files are JSON lines, in the order of the plan, from row number `first` on. Ranges of slices
 * before that are not read.
 * @throws LabelmillError RUN_FAILED (the run is not finished), PART_MISMATCH
 */
export async function* orderedJsonRows(store: ReadableStore, first: number): AsyncGenerator<Row[]> {
  const { runFile } = await readFinished(store);
  const { output } = runFile.spec;
  const counts = new Map<number, number>();
  for await (const { range, rows } of listedFiles(store)) counts.set(range, (counts.get(range) ?? 0) + rows);
  let skipped = 0;
  let from = 0;
  for (const [range, rows] of [...counts].sort(([a], [b]) => a - b)) {
    if (skipped + rows > first) break;
    skipped += rows;
    from = range + 1;
  }
  const decode = (bytes: Uint8Array) => decodeJsonRows(bytes, output.compression);
  const files = new FilesInOrder<Row>(runFile.inputs, decode, ({ source }) => source);
  let left = first - skipped;
  for await (const { rows } of files.read(store, ({ range }) => range >= from)) {
    if (rows.length > left) yield rows.slice(left);
    left = Math.max(0, left - rows.length);
  }
}

/** Reads the files of a run, one range of slices at a time, and puts the rows of a range in the order of the plan. */
class FilesInOrder<T> {
  readonly #places: ReadonlyMap<string, number>;
  readonly #decode: (bytes: Uint8Array) => AsyncIterable<readonly T[]>;
  readonly #sourceOf: (row: T) => { uri: string; record: number };

  constructor(
    inputs: RunFile["inputs"],
    decode: (bytes: Uint8Array) => AsyncIterable<readonly T[]>,
    sourceOf: (row: T) => { uri: string; record: number },
  ) {
    this.#places = new Map(inputs.map(({ uri }, place) => [uri, place]));
    this.#decode = decode;
    this.#sourceOf = sourceOf;
  }

  async *read(
    store: ReadableStore,
    isRead: (line: FileLine) => boolean,
    isWanted: (row: T) => boolean = () => true,
  ): AsyncGenerator<{ first: number; last: number; rows: T[] }> {
    let ready: { first: number; last: number; rows: T[]; range: number; files: number } | undefined;
    for await (const line of listedFiles(store)) {
      const { range, first, last } = line;
      if (ready?.range !== range) {
        if (ready) yield this.#inOrder(ready);
        ready = { range, first, last, rows: [], files: 0 };
      }
      if (!isRead(line)) continue;
      ready.files += 1;
      for await (const some of this.#decode(await store.get(line.key)))
        for (const row of some) if (isWanted(row)) ready.rows.push(row);
    }
    if (ready) yield this.#inOrder(ready);
  }

  #inOrder({ first, last, rows, files }: { first: number; last: number; rows: T[]; files: number }) {
    const placeOf = (row: T) => this.#places.get(this.#sourceOf(row).uri) ?? -1;
    // The rows of one file are in order already.
    if (files > 1) rows.sort((a, b) => placeOf(a) - placeOf(b) || this.#sourceOf(a).record - this.#sourceOf(b).record);
    return { first, last, rows };
  }
}

async function* listedFiles(store: ReadableStore): AsyncGenerator<FileLine> {
  for await (const { value, number } of jsonLines(store.stream(FILES_FILE))) {
    const line = FileLineSchema.safeParse(value);
    if (!line.success)
      throw new LabelmillError("PART_MISMATCH", `${store.uri}${FILES_FILE} line ${number} is not a file line`);
    yield line.data;
  }
}
