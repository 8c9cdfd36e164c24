import type { Range } from "../../schemas/manifest.ts";

/** A planned range; `at` is the bit of its first record, `found` the number of its records that were found. */
type PlannedRange = Required<Range> & { uri: string | undefined; at: number; found: number };

/** Notes which records of planned ranges were found, in one bit each. */
export class RecordSet {
  /** By URI, in the order of the plan. */
  readonly #ranges = new Map<string | undefined, PlannedRange[]>();
  readonly #found: Uint8Array;
  #last = -1;

  /** @param uris of the run's inputs */
  constructor(planned: readonly Range[], uris: readonly string[]) {
    let at = 0;
    for (const { input, first, count, selected = count } of planned) {
      const uri = uris[input];
      const known = this.#ranges.get(uri);
      const range = { input, first, count, selected, uri, at, found: 0 };
      if (known) known.push(range);
      else this.#ranges.set(uri, [range]);
      at += count;
    }
    this.#found = new Uint8Array(Math.ceil(at / 8));
  }

  /** Begins a file. Its rows must be in the order of the plan, and may begin anywhere in it. */
  begin(): void {
    this.#last = -1;
  }

  /** Notes the record of a row. @returns what is wrong with it, or undefined */
  add({ uri, record }: { uri: string; record: number }): string | undefined {
    const name = `record ${record} of ${uri}`;
    const range = this.#rangeOf(uri, record);
    if (!range) return `${name} is not in the plan of its slices`;
    const at = range.at + record - range.first;
    const bit = 1 << (at & 7);
    if (this.#found[at >> 3]! & bit) return `${name} has two rows`;
    this.#found[at >> 3]! |= bit;
    range.found += 1;
    if (at <= this.#last) return `${name} is out of order`;
    this.#last = at;
    return undefined;
  }

  /** Describes the ranges that have fewer or more records than planned. */
  *missing(): Generator<string> {
    for (const ranges of this.#ranges.values())
      for (const { uri, first, count, selected, found } of ranges)
        if (found !== selected)
          yield `${found} of records ${first} to ${first + count - 1} of ${uri}, expected ${selected}`;
  }

  /** A binary search: the ranges of an input follow one another. */
  #rangeOf(uri: string, record: number): PlannedRange | undefined {
    const ranges = this.#ranges.get(uri) ?? [];
    let [low, high] = [0, ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ranges[middle]!.first <= record) low = middle + 1;
      else high = middle;
    }
    const range = ranges[low - 1];
    return range && record < range.first + range.count ? range : undefined;
  }
}
