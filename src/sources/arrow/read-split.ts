import { LabelmillError } from "../../errors.ts";
import type { ArrowPlace, Split } from "../../schemas/split.ts";
import type { Origin } from "../bytes/origin.ts";
import type { ColumnarFile } from "../columnar/open.ts";
import { readColumnarSplit } from "../columnar/read-split.ts";
import type { SourceRecord } from "../source.ts";
import type { SplitContext } from "../split-context.ts";
import { schemaOf } from "./file.ts";
import { type ArrowColumns, arrowWindows, type BatchPlace, columnsOf, openBatch } from "./windows.ts";

type ArrowSplit = Split & { at: ArrowPlace };

/** The items of a split of an Arrow file or stream. Only the schema and the split's own record batches are read. */
export function readArrowSplit(split: ArrowSplit, context: SplitContext): AsyncGenerator<SourceRecord> {
  return readColumnarSplit(split, context, openWindows);
}

async function openWindows(
  split: ArrowSplit,
  origin: Origin,
  names: readonly string[],
): Promise<ColumnarFile["windows"]> {
  const columns = columnsOf(origin, await schemaOf(origin), names);
  const batches = await batchesOf(split, columns);
  return (_names, rows) => arrowWindows(columns, batches, rows);
}

/** The addressed batches, with the row counts that the input has. */
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
  throw new LabelmillError("INPUT_CHANGED", `${input.uri}: ${expected}, got batches that end at row ${row}`);
}
