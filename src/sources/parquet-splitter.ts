import type { ReadOptions } from "../schemas/input.ts";
import type { Split } from "../schemas/split.ts";
import type { Origin } from "./origin.ts";
import { bytesPerRow, type Footer } from "./parquet-footer.ts";
import { neededColumns, rowFilter } from "./parquet-reader.ts";
import { windowsOf } from "./parquet-rows.ts";
import { isSampled } from "./sample.ts";
import type { Cut, CutSize, Splitter } from "./source.ts";

/** Rows from one number up to another, excluded, that are or are no items, all alike. */
type Run = { from: number; to: number; isItem: boolean };

/** Cuts by the row counts of the footer; a filter has its own columns read, and no others. */
export function parquetSplitter(origin: Origin, footer: Footer, read: ReadOptions): Splitter {
  const size = rowSize(footer, read);
  return {
    async *cuts({ record }, room, sample) {
      let open = new OpenCut(record);
      for await (const run of runsOf(origin, footer, read, record, sample)) {
        for (let at = run.from; at < run.to; ) {
          at = open.take(at, run, room, size);
          if (!open.isFull) continue;
          yield open.close(at, split);
          open = new OpenCut(at);
        }
      }
      if (open.first < footer.rows) yield open.close(footer.rows, split);
      await origin.checkUnchanged();

      function split(first: number, count: number, selected: number): Split {
        const part = { first, count, ...(selected === count ? {} : { selected }) };
        const share = sample === undefined ? {} : { sample };
        return { input: origin.input, ...part, at: { kind: "parquet" }, read, ...share };
      }
    },
  };
}

/** The run of rows from `from` on, alike by filter and sample. */
async function* runsOf(
  origin: Origin,
  footer: Footer,
  read: ReadOptions,
  from: number,
  sample: number | undefined,
): AsyncGenerator<Run> {
  const isIn = (record: number) => sample === undefined || isSampled(origin.input.uri, record, sample);
  if (!read.where?.length) {
    if (sample === undefined) yield { from, to: footer.rows, isItem: true };
    else for (let at = from; at < footer.rows; at++) yield { from: at, to: at + 1, isItem: isIn(at) };
    return;
  }
  const filtered = read.where.map(({ column }) => column);
  const passes = rowFilter(read, 0);
  for await (const window of windowsOf(origin, footer, filtered, { first: from, end: footer.rows })) {
    for (let at = window.from; at < window.to; at++)
      yield { from: at, to: at + 1, isItem: passes(window.columns, at - window.first) && isIn(at) };
  }
}

/** The average bytes of a row, and up to which row they hold. */
type RowSize = (row: number) => { bytes: number; until: number };

function rowSize(footer: Footer, read: ReadOptions): RowSize {
  const sizes = bytesPerRow(footer, neededColumns(read));
  let group = 0;
  return (row) => {
    // Rows are mostly asked for in their order.
    if (footer.groups[group]!.first > row) group = 0;
    while (footer.groups[group]!.first + footer.groups[group]!.rows <= row) group++;
    const { first, rows } = footer.groups[group]!;
    return { bytes: Math.max(1, sizes[group]!), until: first + rows };
  };
}

class OpenCut {
  readonly first: number;
  #selected = 0;
  #bytes = 0;
  #room: CutSize | undefined;

  constructor(first: number) {
    this.first = first;
  }

  /** Takes rows of the run from `at` on, as many as there is room for and one group has. @returns where it stopped */
  take(at: number, { to, isItem }: Run, room: () => CutSize, size: RowSize): number {
    this.#room ??= room();
    const { bytes, until } = size(at);
    const fit = isItem
      ? Math.min(this.#room.items - this.#selected, Math.ceil((this.#room.bytes - this.#bytes) / bytes))
      : to - at;
    const count = Math.min(Math.max(1, fit), Math.min(to, until) - at);
    if (isItem) this.#selected += count;
    this.#bytes += count * bytes;
    return at + count;
  }

  get isFull(): boolean {
    const { items, bytes } = this.#room!;
    return this.#selected >= items || (this.#selected > 0 && this.#bytes >= bytes);
  }

  close(end: number, split: (first: number, count: number, selected: number) => Split): Cut {
    const cut = split(this.first, end - this.first, this.#selected);
    return { split: cut, bytes: Math.ceil(this.#bytes), next: { record: end } };
  }
}
