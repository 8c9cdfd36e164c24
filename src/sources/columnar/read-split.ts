import type { Split } from "../../schemas/split.ts";
import { originAsPlanned } from "../bytes/open.ts";
import { type Origin, unchanged } from "../bytes/origin.ts";
import { baseOfInput } from "../item/image-reference.ts";
import { selection } from "../item/sample.ts";
import { TABLE_ITEMS } from "../item/table-items.ts";
import type { SourceRecord } from "../source.ts";
import type { SplitContext } from "../split-context.ts";
import { type ColumnarFile, rowRecords } from "./open.ts";
import { neededColumns } from "./row-reader.ts";

/** A split of a columnar format. `pictures`: its column contains the images themselves. */
export type ColumnarSplit = Split & { at: { pictures?: true | undefined } };

/** Opens the input of a split for the named columns, and checks that it has the planned rows. */
export type OpenWindows<S extends ColumnarSplit> = (
  split: S,
  origin: Origin,
  names: readonly string[],
) => Promise<ColumnarFile["windows"]>;

/**
 * The items of a split of a columnar format. Only the needed columns are read.
 * @throws LabelmillError INPUT_CHANGED if the input is not as planned, INPUT_UNREADABLE if it is corrupt
 */
export async function* readColumnarSplit<S extends ColumnarSplit>(
  split: S,
  { task, place, signal }: SplitContext,
  openWindows: OpenWindows<S>,
): AsyncGenerator<SourceRecord> {
  const { input, read, first, count, idName } = split;
  const origin = originAsPlanned(input, place);
  const items = TABLE_ITEMS[task];
  const toEmbedded = split.at.pictures ? items.toEmbedded : undefined;
  const toItem = (toEmbedded ?? items.toItem)(baseOfInput(input.uri));
  yield* unchanged(origin, selected());

  async function* selected(): AsyncGenerator<SourceRecord> {
    signal.throwIfAborted();
    const file = { origin, windows: await openWindows(split, origin, neededColumns(read)) };
    const rows = { first, end: first + count };
    const options = { isSelected: selection(split), idName };
    for await (const records of rowRecords(file, read, toEmbedded ? "images" : "text", toItem, rows, options)) {
      signal.throwIfAborted();
      for (const record of records) if (!record.skipped) yield record;
    }
  }
}
