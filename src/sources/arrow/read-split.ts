import { LabelmillError } from "../../errors.ts";
import type { ArrowPlace, Split } from "../../schemas/split.ts";
import { type Origin, unchanged } from "../bytes/origin.ts";
import { type RowRange, splitRecords } from "../columnar/open.ts";
import { type Content, neededColumns } from "../columnar/row-reader.ts";
import type { ToItem } from "../item/record.ts";
import type { SourceRecord } from "../source.ts";
import { schemaOf } from "./file.ts";
import { type ArrowColumns, arrowWindows, type BatchPlace, columnsOf, openBatch } from "./windows.ts";

type ArrowSplit = Split & { at: ArrowPlace };

/**
 * The items of a split of an Arrow file or stream: the schema is read, its own batches, and of these the columns that are needed. Fails with
 * INPUT_CHANGED where the file is not what it was when it was planned, with INPUT_UNREADABLE where it is corrupt.
 */
export function readArrowSplit(
  split: ArrowSplit,
  origin: Origin,
  content: Content,
  toItem: ToItem,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  return unchanged(origin, itemsOf(split, origin, content, toItem, signal));
}

async function* itemsOf(
  split: ArrowSplit,
  origin: Origin,
  content: Content,
  toItem: ToItem,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  signal.throwIfAborted();
  const schema = await schemaOf(origin);
  const columns = columnsOf(origin, schema, neededColumns(split.read));
  const batches = await batchesOf(split, columns);
  const windows = (_names: readonly string[], rows: RowRange) => arrowWindows(columns, batches, rows);
  yield* splitRecords({ origin, windows }, split, content, toItem, signal);
}

/** The batches that are addressed, as they are there. */
async function batchesOf({ input, first, count, at }: ArrowSplit, columns: ArrowColumns): Promise<BatchPlace[]> {
  const { dictionaries, skip = 0 } = at;
  const batches: BatchPlace[] = [];
  let row = first - skip;
  for (const address of at.batches) {
    const { rows } = (await openBatch(columns, { at: address, dictionaries })).header;
    batches.push({ at: address, first: row, rows, dictionaries });
    row += rows;
  }
  if (row >= first + count) return batches;
  const expected = `expected rows ${first} to ${first + count - 1} as planned`;
  throw new LabelmillError("INPUT_CHANGED", `${input.uri}: ${expected}, its batches end at row ${row}`);
}
