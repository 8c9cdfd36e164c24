import { compareWaiting, type Entry, type Group, Shelf, type Waiting } from "./shelf.ts";

/** The most batches that may pass over a waiting item, that is, take an item that arrived after it. */
export const MAX_PASSED_OVER = 8;

/** An item is put with others only if the shortest of them is at least this part of the longest: more padding costs more than another batch. */
const SIMILAR = 1 / 2;

/**
 * What waits for a batch. A batch begins with the longest item of the oldest group and takes the nearest in length from all
 * groups, shorter ones first, while its padded cost (longest × count) stays within the budget.
 *
 * Invariant: no item is passed over by more than MAX_PASSED_OVER batches. The count of an item is the number of batches whose
 * newest item arrived after it; so it is the same for a whole group, and at least as high for an older group as for a younger one.
 */
export class BatchQueue<T> {
  readonly #all = new Shelf<T>();
  /** Groups with something waiting, oldest first. */
  readonly #groups = new Set<Group<T>>();
  /** For each batch that took something newer than the oldest group: its newest arrival. At most MAX_PASSED_OVER of them. */
  #ahead: number[] = [];
  #arrivals = 0;
  #added = 0;

  /** Items that wait. */
  get size(): number {
    return this.#all.size;
  }

  /** Adds items that arrive together; lengths are positive. The group that comes back is good for `discard`. */
  add(items: readonly Entry<T>[]): Group<T> {
    const group: Group<T> = { arrival: this.#arrivals++, shelf: new Shelf<T>() };
    const sorted = items
      .map(({ length, value }): Waiting<T> => ({ length, value, group, order: this.#added++, taken: false }))
      .sort(compareWaiting);
    if (sorted.length === 0) return group;
    this.#groups.add(group);
    group.shelf.merge(sorted);
    this.#all.merge(sorted);
    return group;
  }

  /** Takes the next batch; empty only if nothing waits. Its padded cost exceeds the budget only if it is one item. */
  cut(budget: number): Entry<T>[] {
    const [oldest] = this.#groups;
    const seed = oldest?.shelf.longest();
    if (!seed) return [];
    const batch: Waiting<T>[] = [];
    let shortest = seed.length;
    let longest = seed.length;
    const take = (entry: Waiting<T>): boolean => {
      const low = Math.min(shortest, entry.length);
      const high = Math.max(longest, entry.length);
      if (batch.length > 0 && (high * (batch.length + 1) > budget || low < high * SIMILAR)) return false;
      shortest = low;
      longest = high;
      this.#mark(entry);
      batch.push(entry);
      return true;
    };
    take(seed);
    for (const group of this.#groups) {
      if (this.#passedOver(group) < MAX_PASSED_OVER) {
        this.#all.offer(seed.length, take);
        break;
      }
      // Nothing newer than this group may be taken before the whole of it is.
      group.shelf.offer(seed.length, take);
      if (group.shelf.size > 0) break;
    }
    this.#ahead.push(batch.reduce((newest, entry) => Math.max(newest, entry.group.arrival), 0));
    this.#tidy(new Set(batch.map((entry) => entry.group)));
    return batch;
  }

  /** Drops what still waits of a group and says how many items that was. */
  discard(group: Group<T>): number {
    const dropped = [...group.shelf];
    for (const entry of dropped) this.#mark(entry);
    this.#tidy([group]);
    return dropped.length;
  }

  #mark(entry: Waiting<T>): void {
    entry.taken = true;
    entry.group.shelf.took();
    this.#all.took();
  }

  #passedOver(group: Group<T>): number {
    return this.#ahead.filter((newest) => newest > group.arrival).length;
  }

  #tidy(touched: Iterable<Group<T>>): void {
    this.#all.tidy();
    for (const group of touched) {
      group.shelf.tidy();
      if (group.shelf.size === 0) this.#groups.delete(group);
    }
    const [oldest] = this.#groups;
    this.#ahead = oldest ? this.#ahead.filter((newest) => newest > oldest.arrival) : [];
  }
}
