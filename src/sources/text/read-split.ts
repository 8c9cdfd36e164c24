import { LabelmillError } from "../../errors.ts";
import type { Split, TextPlace } from "../../schemas/split.ts";
import { originAsPlanned } from "../bytes/open.ts";
import { type Origin, unchanged } from "../bytes/origin.ts";
import { baseOfInput } from "../item/image-reference.ts";
import { idNameOf, type ToItem, toRecord } from "../item/record.ts";
import { selection } from "../item/sample.ts";
import { TABLE_ITEMS, type TableItems } from "../item/table-items.ts";
import { quoted, type SourceRecord } from "../source.ts";
import type { SplitContext } from "../split-context.ts";
import { type RowReader, readerOf } from "./row-reader.ts";

type TextSplit = Split & { at: TextPlace };

/**
 * The items of a split of text, as `records()` of the whole input gives them. Only the bytes of the split are read, and those after it
 * that bad records made the planner examine.
 * @throws LabelmillError INPUT_CHANGED if the input changed or its records do not end where they were planned to, ABORTED by the signal
 */
export async function* readTextSplit(
  split: TextSplit,
  { task, place, signal }: SplitContext,
): AsyncGenerator<SourceRecord> {
  const origin = originAsPlanned(split.input, place);
  yield* unchanged(origin, itemsOf(split, TABLE_ITEMS[task], origin, signal));
}

async function* itemsOf(
  split: TextSplit,
  items: TableItems,
  origin: Origin,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const { input, first, count, at } = split;
  const { offset, bytes, reach = 0 } = at;
  const reader = readerAt(split, items);
  const found = new SplitRecords(split, reader, items.toItem(baseOfInput(input.uri)));
  const length = Math.max(bytes, reach);
  const chunks = length === 0 ? [] : origin.bytes({ start: offset, end: offset + length }, signal);
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    reader.scanner.append(chunk);
    yield* found.take(false);
    if (found.isComplete) break;
  }
  yield* found.take(true);
  const { position } = reader.scanner;
  if (found.isComplete && position === offset + bytes) return;
  const expected = `expected ${count} in the bytes ${offset} to ${offset + bytes - 1}`;
  throw new LabelmillError(
    "INPUT_CHANGED",
    `records ${first} to ${first + count - 1} of ${input.uri}: ${expected}, got ${found.record - first} up to byte ${position - 1}: label it into another --out`,
  );
}

function readerAt({ input, at, read }: TextSplit, { skipBlankLines }: TableItems): RowReader {
  const { kind, offset, bytes, reach, width, places, ...state } = at;
  return readerOf(
    read,
    { names: [], skipBlankLines, label: quoted(input.uri) },
    { at: { position: offset, ...state }, header: width && places ? { width, places } : undefined },
  );
}

/** The records of a split, in order, as far as the reader has their bytes. */
class SplitRecords {
  /** The number of the next record. */
  record: number;
  readonly #end: number;
  readonly #reader: RowReader;
  readonly #toItem: ToItem;
  readonly #idName: string;
  readonly #isSelected: (record: number) => boolean;

  constructor(split: TextSplit, reader: RowReader, toItem: ToItem) {
    this.record = split.first;
    this.#end = split.first + split.count;
    this.#reader = reader;
    this.#toItem = toItem;
    this.#idName = split.idName ?? idNameOf(split.input.uri);
    this.#isSelected = selection(split);
  }

  get isComplete(): boolean {
    return this.record === this.#end;
  }

  /** @param last there are no more bytes */
  *take(last: boolean): Generator<SourceRecord> {
    const { scanner, take } = this.#reader;
    for (; !this.isComplete; this.record++) {
      if (!this.#isSelected(this.record)) {
        if (!scanner.pass(last)) return;
        continue;
      }
      const raw = scanner.next(last);
      if (raw === undefined) return;
      const row = take(raw)!;
      if (!row.skipped) yield toRecord(row, raw.line, this.record, this.#idName, this.#toItem);
    }
  }
}
