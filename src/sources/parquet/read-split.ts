import { LabelmillError } from "../../errors.ts";
import type { Split } from "../../schemas/split.ts";
import type { Origin } from "../bytes/origin.ts";
import type { ColumnarFile } from "../columnar/open.ts";
import { type ColumnarSplit, readColumnarSplit } from "../columnar/read-split.ts";
import type { SourceRecord } from "../source.ts";
import type { SplitContext } from "../split-context.ts";
import { checkColumns, footerOf } from "./footer.ts";
import { windowsOf } from "./windows.ts";

/** The items of a split of a Parquet file. Only the footer and the row groups that contain the split are read. */
export function readParquetSplit(split: ColumnarSplit, context: SplitContext): AsyncGenerator<SourceRecord> {
  return readColumnarSplit(split, context, openWindows);
}

async function openWindows(
  { input, first, count }: Split,
  origin: Origin,
  names: readonly string[],
): Promise<ColumnarFile["windows"]> {
  const footer = await footerOf(origin);
  if (first + count > footer.rows || names.some((name) => !footer.columns.has(name))) {
    const expected = `expected rows ${first} to ${first + count - 1} with the planned columns`;
    throw new LabelmillError(
      "INPUT_CHANGED",
      `${input.uri}: ${expected}, got ${footer.rows} rows with ${footer.columns.size} columns: label it into another --out`,
    );
  }
  checkColumns(origin, footer, names);
  return (needed, rows) => windowsOf(origin, footer, needed, rows);
}
