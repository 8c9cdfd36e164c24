import { LabelmillError } from "../../errors.ts";
import type { Split } from "../../schemas/split.ts";
import { type Origin, unchanged } from "../bytes/origin.ts";
import { splitRecords } from "../columnar/open.ts";
import { type Content, neededColumns } from "../columnar/row-reader.ts";
import type { ToItem } from "../item/record.ts";
import type { SourceRecord } from "../source.ts";
import { checkColumns, footerOf } from "./footer.ts";
import { windowsOf } from "./windows.ts";

/**
 * The items of a split of a Parquet file: of its columns, those that are needed, and no row groups but those that it lies in. Fails with
 * INPUT_CHANGED where the file is not what it was when it was planned, with INPUT_UNREADABLE where it is corrupt.
 */
export function readParquetSplit(
  split: Split,
  origin: Origin,
  content: Content,
  toItem: ToItem,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  return unchanged(origin, itemsOf(split, origin, content, toItem, signal));
}

async function* itemsOf(
  split: Split,
  origin: Origin,
  content: Content,
  toItem: ToItem,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  signal.throwIfAborted();
  const { input, first, count } = split;
  const footer = await footerOf(origin);
  const names = neededColumns(split.read);
  if (first + count > footer.rows || names.some((name) => !footer.columns.has(name))) {
    const expected = `expected rows ${first} to ${first + count - 1} with the columns that were planned`;
    throw new LabelmillError(
      "INPUT_CHANGED",
      `${input.uri}: ${expected}, it has ${footer.rows} rows: label it into another --out`,
    );
  }
  checkColumns(origin, footer, names);
  const windows = (needed: readonly string[], rows: { first: number; end: number }) =>
    windowsOf(origin, footer, needed, rows);
  yield* splitRecords({ origin, windows }, split, content, toItem, signal);
}
