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
  /** Bytes of a row on the average: 1 or more. */
  rowBytes: number;
  /** A cut may not go on beyond this group. */
  isLast?: boolean;
};

/** Rows `first` to `end`, excluded, of which `from` to `to` are asked for; a column of values each, in the order of the names. */
export type Window = { first: number; from: number; to: number; columns: readonly Cells[] };

/** An input whose rows are addressed by their numbers. */
export type RowTable = {
  input: Input;
  read: ReadOptions;
  rows: number;
  /** The group that a row lies in. */
  groupOf(row: number): RowGroup | Promise<RowGroup>;
  /** The columns that are filtered by, from a row on. */
  filtered(names: readonly string[], from: number): AsyncIterable<Window>;
  place(first: number, count: number): Split["at"];
  checkUnchanged(): Promise<void>;
};

/** Rows from one number up to another, excluded, that are or are no items, all alike. */
type Run = { from: number; to: number; isItem: boolean };

/** Cuts by the row counts of the groups; a filter has its own columns read, and no others. */
export function rowSplitter(table: RowTable): Splitter {
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

/** The run of rows from `from` on, alike by filter and sample. */
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

  /** Takes rows of the run from `at` on, as many as there is room for and the group has. @returns where it stopped */
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

/** Finds the group of a row; rows are mostly asked for in their order. */
export function groupFinder(groups: readonly { first: number; rows: number }[]): (row: number) => number {
  let group = 0;
  return (row) => {
    if (groups[group]!.first > row) group = 0;
    while (groups[group]!.first + groups[group]!.rows <= row) group++;
    return group;
  };
}
