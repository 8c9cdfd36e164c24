import { LabelmillError } from "../errors.ts";
import { decodeDataFile } from "../rows/data-file.ts";
import { type FileRow, fileRowOf } from "../rows/file-row.ts";
import { jsonLines } from "../rows/json-lines.ts";
import { readPart } from "../rows/part.ts";
import { type FileLine, FileLineSchema } from "../schemas/manifest.ts";
import { FILES_FILE, partKey } from "../schemas/names.ts";
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

async function* rowsOfFiles(
  store: ReadableStore,
  { spec: { output }, inputs }: RunFile,
  isWanted: (row: FileRow) => boolean,
  onlyErrors: boolean,
): AsyncGenerator<OrderedRows> {
  const places = new Map(inputs.map(({ uri }, place) => [uri, place]));
  const placeOf = ({ uri }: FileRow) => places.get(uri) ?? -1;
  let ready: (OrderedRows & { range: number; files: number }) | undefined;
  const inOrder = ({ first, last, rows, files }: NonNullable<typeof ready>): OrderedRows => {
    // The rows of one file are in order already.
    if (files > 1) rows.sort((a, b) => placeOf(a) - placeOf(b) || a.record - b.record);
    return { first, last, rows };
  };
  for await (const line of listedFiles(store)) {
    const { range, first, last } = line;
    if (ready?.range !== range) {
      if (ready) yield inOrder(ready);
      ready = { range, first, last, rows: [], files: 0 };
    }
    const isOther = line.partition ? true : output.errors === "apart" && !line.errors;
    if (onlyErrors && isOther) continue;
    ready.files += 1;
    for await (const some of decodeDataFile(await store.get(line.key), output))
      for (const row of some) if (isWanted(row)) ready.rows.push(row);
  }
  if (ready) yield inOrder(ready);
}

async function* listedFiles(store: ReadableStore): AsyncGenerator<FileLine> {
  for await (const { value, number } of jsonLines(store.stream(FILES_FILE))) {
    const line = FileLineSchema.safeParse(value);
    if (!line.success)
      throw new LabelmillError("PART_MISMATCH", `${store.uri}${FILES_FILE} line ${number} is not a file line`);
    yield line.data;
  }
}
