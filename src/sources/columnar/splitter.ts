import type { Input, ReadOptions } from "../../schemas/input.ts";
import type { Split } from "../../schemas/split.ts";
import type { Cells } from "../item/cell-values.ts";
import { isSampled } from "../item/sample.ts";
import type { Cut, CutSize, Splitter } from "../source.ts";
import { rowFilter } from "./row-reader.ts";

/** Rows of an input that are stored together. */
export type RowGroup = {
  first: number;
  rows: number;
  /** Average bytes of a row: 1 or more. */
  rowBytes: number;
  /** A cut must end with this group. */
  isLast?: boolean;
};

/** Decoded rows from number `first` on, of which `from` to `to` (exclusive) are requested. `columns`: in the order of the requested names. */
export type Window = { first: number; from: number; to: number; columns: readonly Cells[] };

/** An input whose rows are addressed by number. */
export type RowTable = {
  input: Input;
  read: ReadOptions;
  rows: number;
  /** The group of a row. */
  groupOf(row: number): RowGroup | Promise<RowGroup>;
  /** The filtered columns, from a row on. */
  filtered(names: readonly string[], from: number): AsyncIterable<Window>;
  place(first: number, count: number): Split["at"];
  checkUnchanged(): Promise<void>;
};

/** Rows `from` to `to` (exclusive) that all are items, or all are not. */
type Run = { from: number; to: number; isItem: boolean };

/** Cuts by the row counts of the groups. A filter reads only its own columns. */
export function columnarSplitter(table: RowTable): Splitter {
  const { input, read, rows } = table;
  return {
    async *cuts({ record }, room, sample) {
      let open = new OpenCut(record);
      for await (const run of runsOf(table, record, sample)) {
        for (let at = run.from; at < run.to; ) {
          at = open.take(at, run, room, await table.groupOf(at));
          if (!open.isFull) continue;
          yield open.close(at, split);
          open = new OpenCut(at);
        }
      }
      if (open.first < rows) yield open.close(rows, split);
      await table.checkUnchanged();

      function split(first: number, count: number, selected: number): Split {
        const part = { first, count, ...(selected === count ? {} : { selected }) };
        const share = sample === undefined ? {} : { sample };
        return { input, ...part, at: table.place(first, count), read, ...share };
      }
    },
  };
}

/** The runs of rows from `from` on, by filter and sample. */
async function* runsOf(
  { input, read, rows, filtered }: RowTable,
  from: number,
  sample: number | undefined,
): AsyncGenerator<Run> {
  const isIn = (record: number) => sample === undefined || isSampled(input.uri, record, sample);
  if (!read.where?.length) {
    if (sample === undefined) yield { from, to: rows, isItem: true };
    else for (let at = from; at < rows; at++) yield { from: at, to: at + 1, isItem: isIn(at) };
    return;
  }
  const passes = rowFilter(read, 0);
  const names = read.where.map(({ column }) => column);
  for await (const window of filtered(names, from)) {
    for (let at = window.from; at < window.to; at++)
      yield { from: at, to: at + 1, isItem: passes(window.columns, at - window.first) && isIn(at) };
  }
}

class OpenCut {
  readonly first: number;
  #selected = 0;
  #bytes = 0;
  #room: CutSize | undefined;
  #mustEnd = false;

  constructor(first: number) {
    this.first = first;
  }

  /** Takes rows of the run from `at` on, up to the room of the cut and the end of the group. @returns the row after them */
  take(at: number, { to, isItem }: Run, room: () => CutSize, group: RowGroup): number {
    this.#room ??= room();
    const until = group.first + group.rows;
    const fit = isItem
      ? Math.min(this.#room.items - this.#selected, Math.ceil((this.#room.bytes - this.#bytes) / group.rowBytes))
      : to - at;
    const count = Math.min(Math.max(1, fit), Math.min(to, until) - at);
    if (isItem) this.#selected += count;
    this.#bytes += count * group.rowBytes;
    this.#mustEnd = group.isLast === true && at + count === until;
    return at + count;
  }

  get isFull(): boolean {
    const { items, bytes } = this.#room!;
    return this.#mustEnd || this.#selected >= items || (this.#selected > 0 && this.#bytes >= bytes);
  }

  close(end: number, split: (first: number, count: number, selected: number) => Split): Cut {
    const cut = split(this.first, end - this.first, this.#selected);
    return { split: cut, bytes: Math.ceil(this.#bytes), next: { record: end } };
  }
}

/** Finds the group of a row. It is fast if rows are requested in order. */
export function groupFinder(groups: readonly { first: number; rows: number }[]): (row: number) => number {
  let group = 0;
  return (row) => {
    if (groups[group]!.first > row) group = 0;
    while (groups[group]!.first + groups[group]!.rows <= row) group++;
    return group;
  };
}
