/** Something that waits: its length (tokens of a text, 1 for an image), what it is, and with whom it came. */
export type Entry<T> = { readonly length: number; readonly value: T };

export type Waiting<T> = Entry<T> & { readonly group: Group<T>; readonly order: number; taken: boolean };

/** What was added together: it arrived together. `arrival` counts the groups of a queue from 0. */
export type Group<T> = { readonly arrival: number; readonly shelf: LengthSortedList<T> };

/**
 * Waiting entries in order of length, the longest last; of equal ones the oldest last. Taking only marks an entry: the array
 * is swept when more than half of it is marked, so that taking costs a constant time on average.
 */
export class LengthSortedList<T> {
  readonly #entries: Waiting<T>[] = [];
  #taken = 0;

  /** Entries that still wait. */
  get size(): number {
    return this.#entries.length - this.#taken;
  }

  /** Merges entries that are in the shelf's order (`compareWaiting`). Costs a step per entry that lies above the lowest new one. */
  merge(sorted: readonly Waiting<T>[]): void {
    const entries = this.#entries;
    let old = entries.length - 1;
    for (const entry of sorted) entries.push(entry);
    for (let added = sorted.length - 1, to = entries.length - 1; added >= 0; to--) {
      const stays = old >= 0 && compareWaiting(entries[old]!, sorted[added]!) > 0;
      entries[to] = stays ? entries[old--]! : sorted[added--]!;
    }
  }

  /** The longest that waits; of equal ones the oldest. */
  longest(): Waiting<T> | undefined {
    while (this.#entries.at(-1)?.taken) {
      this.#entries.pop();
      this.#taken--;
    }
    return this.#entries.at(-1);
  }

  /**
   * Offers what waits, nearest first: from `length` down to the shortest, then from above `length` up. Each way ends when
   * `take` refuses. `take` may mark the entry that it was offered, and calls `took` then.
   */
  offer(length: number, take: (entry: Waiting<T>) => boolean): void {
    const entries = this.#entries;
    const above = this.#firstAbove(length);
    for (let at = above - 1; at >= 0; at--) if (!entries[at]!.taken && !take(entries[at]!)) break;
    for (let at = above; at < entries.length; at++) if (!entries[at]!.taken && !take(entries[at]!)) break;
  }

  /** Tells the shelf that one of its entries was marked as taken. */
  took(): void {
    this.#taken++;
  }

  /** Sweeps marked entries out if it is time. Not to be called while `offer` runs. */
  tidy(): void {
    if (this.#taken * 2 <= this.#entries.length) return;
    let kept = 0;
    for (const entry of this.#entries) if (!entry.taken) this.#entries[kept++] = entry;
    this.#entries.length = kept;
    this.#taken = 0;
  }

  *[Symbol.iterator](): Iterator<Waiting<T>> {
    for (const entry of this.#entries) if (!entry.taken) yield entry;
  }

  #firstAbove(length: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.length > length) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

export function compareWaiting<T>(a: Waiting<T>, b: Waiting<T>): number {
  return a.length - b.length || b.order - a.order;
}
