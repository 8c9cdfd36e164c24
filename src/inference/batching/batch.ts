import type { Entry } from "./length-sorted-list.ts";

/** Limits the size of batches. Costs include padding. */
export interface BatchRules {
  /** The largest cost of the next batch, whose first item has this length. Called once for each batch. */
  next(length: number): number;
  /** About the same, to plan ahead. */
  peek(length: number): number;
  /**
   * The largest cost of a batch that takes about `ms`, as measured for batches whose first item has this length. Infinity if no batch
   * is measured yet, or if a smaller batch would have a shape that is not warmed up.
   */
  within(length: number, ms: number): number;
  /** The largest cost that `next` can return now. */
  readonly reach: number;
  /** The length that an item of this length is padded to. */
  lengthOf(length: number): number;
  /** The least ratio (0..1) of the shortest to the longest item of a batch. */
  readonly similar: number;
}

/** The usual value of `similar`. With more padding, another batch would cost less. */
export const SIMILAR = 1 / 2;

/** Why a batch is not larger: it is `full`, no more items waited (`drained`), or the others were too long or too short (`lengths`). */
export type CutReason = "full" | "drained" | "lengths";

/** A batch that is being filled with entries of similar length. Its padded cost (longest × count) exceeds the budget only if it has one entry. */
export class Batch<E extends Entry<unknown>> {
  readonly entries: E[] = [];
  readonly #rules: BatchRules;
  readonly #budgetOf: (length: number) => number;
  #budget = 0;
  #shortest = Number.POSITIVE_INFINITY;
  #longest = 0;
  #refused: CutReason = "drained";

  /** @param budgetOf the budget, by the length of the first entry. Default: `rules.next` */
  constructor(rules: BatchRules, budgetOf = (length: number) => rules.next(length)) {
    this.#rules = rules;
    this.#budgetOf = budgetOf;
  }

  /** Adds the entry if it fits. @returns whether it did */
  take(entry: E): boolean {
    const { entries } = this;
    const shortest = Math.min(this.#shortest, entry.length);
    const longest = Math.max(this.#longest, entry.length);
    if (entries.length === 0) this.#budget = this.#budgetOf(entry.length);
    else if (this.#rules.lengthOf(longest) * (entries.length + 1) > this.#budget) return this.#refuse("full");
    else if (shortest < longest * this.#rules.similar) return this.#refuse("lengths");
    this.#shortest = shortest;
    this.#longest = longest;
    entries.push(entry);
    return true;
  }

  /** Lowers the budget for further entries. A higher value has no effect. */
  limitTo(budget: number): void {
    this.#budget = Math.min(this.#budget, budget);
  }

  /** Why the batch is not larger. */
  get reason(): CutReason {
    return this.#refused;
  }

  /** The length of its longest entry. */
  get longest(): number {
    return this.#longest;
  }

  /** The padded cost of `count` of its entries. */
  cost(count: number): number {
    return this.#rules.lengthOf(this.#longest) * count;
  }

  /** `full` takes precedence over other reasons. */
  #refuse(reason: CutReason): false {
    if (this.#refused !== "full") this.#refused = reason;
    return false;
  }
}
