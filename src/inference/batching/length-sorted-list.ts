/** An item with its length: tokens of a text, or 1 for an image. */
export type Entry<T> = { readonly length: number; readonly value: T };

/** An entry of the list. `order` counts the entries of a queue. */
export type Waiting<T> = Entry<T> & { readonly group: Group<T>; readonly order: number; taken: boolean };

/** Entries that were added together. `arrival` counts the groups of a queue from 0. */
export type Group<T> = { readonly arrival: number; readonly waiting: LengthSortedList<T> };

/**
 * Waiting entries, sorted by length, the longest last. Among entries of one length the oldest is last. Taking an entry only marks
 * it. Marked entries are removed when they are more than half of the array, so taking costs constant time on average.
 */
export class LengthSortedList<T> {
  readonly #entries: Waiting<T>[] = [];
  #taken = 0;

  /** Entries that still wait. */
  get size(): number {
    return this.#entries.length - this.#taken;
  }

  /** Merges entries sorted by `compareWaiting`. Costs a step for each entry above the lowest new one. */
  merge(sorted: readonly Waiting<T>[]): void {
    const entries = this.#entries;
    let old = entries.length - 1;
    for (const entry of sorted) entries.push(entry);
    for (let added = sorted.length - 1, to = entries.length - 1; added >= 0; to--) {
      const stays = old >= 0 && compareWaiting(entries[old]!, sorted[added]!) > 0;
      entries[to] = stays ? entries[old--]! : sorted[added--]!;
    }
  }

  /** The longest waiting entry; the oldest of equally long ones. */
  longest(): Waiting<T> | undefined {
    while (this.#entries.at(-1)?.taken) {
      this.#entries.pop();
      this.#taken--;
    }
    return this.#entries.at(-1);
  }

  /**
   * Offers waiting entries, nearest first: from `length` down to the shortest, then from above `length` up. Each direction ends when
   * `take` refuses. If `take` marks the entry that it was offered, it also calls `countTaken`.
   */
  offer(length: number, take: (entry: Waiting<T>) => boolean): void {
    const entries = this.#entries;
    const above = this.#firstAbove(length);
    for (let at = above - 1; at >= 0; at--) if (!entries[at]!.taken && !take(entries[at]!)) break;
    for (let at = above; at < entries.length; at++) if (!entries[at]!.taken && !take(entries[at]!)) break;
  }

  /** Counts an entry of this list that was marked as taken. */
  countTaken(): void {
    this.#taken++;
  }

  /** Removes marked entries if they are more than half. Must not be called while `offer` runs. */
  sweep(): void {
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
