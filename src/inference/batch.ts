import type { Entry } from "./shelf.ts";

/** An item is put with others only if the shortest of them is at least this part of the longest: more padding costs more than another batch. */
const SIMILAR = 1 / 2;

/** A batch in the making: entries of similar length, whose padded cost (longest × count) is within the budget unless there is only one. */
export class Batch<E extends Entry<unknown>> {
  readonly entries: E[] = [];
  readonly #budget: number;
  #shortest = Number.POSITIVE_INFINITY;
  #longest = 0;

  constructor(budget: number) {
    this.#budget = budget;
  }

  /** Takes the entry if it fits, and says whether it did. */
  take(entry: E): boolean {
    const { entries } = this;
    const shortest = Math.min(this.#shortest, entry.length);
    const longest = Math.max(this.#longest, entry.length);
    const fits = longest * (entries.length + 1) <= this.#budget && shortest >= longest * SIMILAR;
    if (entries.length > 0 && !fits) return false;
    this.#shortest = shortest;
    this.#longest = longest;
    entries.push(entry);
    return true;
  }

  /** Padded cost of so many of its entries. */
  cost(count: number): number {
    return this.#longest * count;
  }
}
