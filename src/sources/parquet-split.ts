import { LabelmillError } from "../errors.ts";
import type { Task } from "../schemas/job.ts";
import type { Split } from "../schemas/split.ts";
import { imageItem } from "./images.ts";
import { fileAsPlanned, type Origin } from "./origin.ts";
import { parquetRecords } from "./parquet.ts";
import { checkColumns, footerOf } from "./parquet-footer.ts";
import { neededColumns } from "./parquet-reader.ts";
import type { SplitPlace } from "./read-split.ts";
import { baseOf } from "./read-text.ts";
import { objectAsPlanned } from "./s3-origin.ts";
import { isSampled } from "./sample.ts";
import type { SourceRecord } from "./source.ts";
import { textItem } from "./text.ts";

/**
 * The items of a split of a Parquet file: of its columns, those that are needed, and no row groups but those that it lies in. Fails with
 * INPUT_CHANGED where the file is not what it was when it was planned, with INPUT_UNREADABLE where it is corrupt.
 */
export async function* readParquetSplit(
  split: Split,
  task: Task,
  place: SplitPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const origin = "path" in place ? fileAsPlanned(place.path, split.input) : objectAsPlanned(split.input, place.s3);
  try {
    yield* itemsOf(split, task, origin, signal);
  } catch (error) {
    // Another file in its place can look corrupt.
    if (!signal.aborted) await origin.checkUnchanged();
    throw error;
  }
  await origin.checkUnchanged();
}

async function* itemsOf(
  { input, first, count, read, sample, only, idName }: Split,
  task: Task,
  origin: Origin,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  signal.throwIfAborted();
  const footer = await footerOf(origin);
  const names = neededColumns(read);
  if (first + count > footer.rows || names.some((name) => !footer.columns.has(name))) {
    const expected = `expected rows ${first} to ${first + count - 1} with the columns that were planned`;
    throw new LabelmillError(
      "INPUT_CHANGED",
      `${input.uri}: ${expected}, it has ${footer.rows} rows: label it into another --out`,
    );
  }
  checkColumns(origin, footer, names);
  const toItem = task === "image-classification" ? imageItem(baseOf(input.uri)) : textItem;
  const numbers = only && new Set(only);
  const isWanted = (record: number): boolean =>
    (numbers?.has(record) ?? true) && (sample === undefined || isSampled(input.uri, record, sample));
  const rows = { first, end: first + count };
  for await (const records of parquetRecords(origin, footer, read, toItem, rows, isWanted, idName)) {
    signal.throwIfAborted();
    for (const record of records) if (!record.skipped) yield record;
  }
}
