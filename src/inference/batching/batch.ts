import type { Entry } from "./length-sorted-list.ts";

/** What decides how large batches become. Costs are padded ones. */
export interface BatchRules {
  /** The most cost of the next batch, which begins with an item of this length; asked once a batch. */
  next(length: number): number;
  /** About the same, for looking ahead. */
  peek(length: number): number;
  /** The most that `next` may answer now. */
  readonly reach: number;
  /** The length that an item takes in a batch. */
  lengthOf(length: number): number;
  /** An item is put with others only if the shortest of them is at least this part (0..1) of the longest. */
  readonly similar: number;
}

/** More padding than this costs more than another batch. */
export const SIMILAR = 1 / 2;

/** Why a batch was not made larger: its budget, nothing else waited, or what waited was of other lengths. */
export type CutReason = "full" | "drained" | "lengths";

/** A batch in the making: entries of similar length, whose padded cost (longest × count) is within the budget unless there is only one. */
export class Batch<E extends Entry<unknown>> {
  readonly entries: E[] = [];
  readonly #rules: BatchRules;
  #budget = 0;
  #shortest = Number.POSITIVE_INFINITY;
  #longest = 0;
  #refused: CutReason = "drained";

  constructor(rules: BatchRules) {
    this.#rules = rules;
  }

  /** Takes the entry if it fits, and says whether it did. */
  take(entry: E): boolean {
    const { entries } = this;
    const shortest = Math.min(this.#shortest, entry.length);
    const longest = Math.max(this.#longest, entry.length);
    if (entries.length === 0) this.#budget = this.#rules.next(entry.length);
    else if (this.#rules.lengthOf(longest) * (entries.length + 1) > this.#budget) return this.#refuse("full");
    else if (shortest < longest * this.#rules.similar) return this.#refuse("lengths");
    this.#shortest = shortest;
    this.#longest = longest;
    entries.push(entry);
    return true;
  }

  /** Why it is no larger. */
  get reason(): CutReason {
    return this.#refused;
  }

  /** Of the longest of its entries. */
  get longest(): number {
    return this.#longest;
  }

  /** Padded cost of so many of its entries. */
  cost(count: number): number {
    return this.#rules.lengthOf(this.#longest) * count;
  }

  /** A full batch is full, whatever else it was refused for. */
  #refuse(reason: CutReason): false {
    if (this.#refused !== "full") this.#refused = reason;
    return false;
  }
}
