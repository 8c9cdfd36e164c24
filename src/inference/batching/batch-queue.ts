import type { Batch } from "./batch.ts";
import { compareWaiting, type Entry, type Group, LengthSortedList, type Waiting } from "./length-sorted-list.ts";

/** The most batches that may pass over a waiting item, that is, take an item of the same queue that arrived after it. */
export const MAX_PASSED_OVER = 8;

/**
 * What waits for a batch. An empty batch begins with the longest item of the oldest group; then it takes the nearest in length
 * to its first item from all groups, shorter ones first, while they fit.
 *
 * Invariant: no item is passed over by more than MAX_PASSED_OVER batches. The count of an item is the number of batches whose
 * newest item of this queue arrived after it; so it is the same for a whole group, and at least as high for an older group as
 * for a younger one.
 */
export class BatchQueue<T> {
  readonly #all = new LengthSortedList<T>();
  /** Groups with something waiting, oldest first. */
  readonly #groups = new Set<Group<T>>();
  /** For each batch that took something newer than the oldest group: its newest arrival. At most MAX_PASSED_OVER of them. */
  #ahead: number[] = [];
  #arrivals = 0;
  #added = 0;
  #cost = 0;

  /** Items that wait. */
  get size(): number {
    return this.#all.size;
  }

  /** The sum of the lengths of what waits. */
  get cost(): number {
    return this.#cost;
  }

  /** The length of the item that an empty batch would begin with; undefined if nothing waits. */
  get nextLength(): number | undefined {
    const [oldest] = this.#groups;
    return oldest?.shelf.longest()?.length;
  }

  /** Adds items that arrive together; lengths are positive. The group that comes back is good for `discard`. */
  add(items: readonly Entry<T>[]): Group<T> {
    const group: Group<T> = { arrival: this.#arrivals++, shelf: new LengthSortedList<T>() };
    const sorted = items
      .map(({ length, value }): Waiting<T> => ({ length, value, group, order: this.#added++, taken: false }))
      .sort(compareWaiting);
    if (sorted.length === 0) return group;
    this.#groups.add(group);
    group.shelf.merge(sorted);
    this.#all.merge(sorted);
    for (const { length } of sorted) this.#cost += length;
    return group;
  }

  /** Moves to a batch what fits in it, and says how many items that was. A batch that comes empty stays so only if nothing waits. */
  fill(batch: Batch<Waiting<T>>): number {
    const [oldest] = this.#groups;
    if (!oldest) return 0;
    const before = batch.entries.length;
    const take = (entry: Waiting<T>): boolean => {
      const fits = batch.take(entry);
      if (fits) this.#mark(entry);
      return fits;
    };
    if (before === 0) take(oldest.shelf.longest()!);
    const { length } = batch.entries[0]!;
    for (const group of this.#groups) {
      if (this.#passedOver(group) < MAX_PASSED_OVER) {
        this.#all.offer(length, take);
        break;
      }
      // Nothing newer than this group may be taken before the whole of it is.
      group.shelf.offer(length, take);
      if (group.shelf.size > 0) break;
    }
    const taken = batch.entries.slice(before);
    this.#ahead.push(taken.reduce((newest, entry) => Math.max(newest, entry.group.arrival), 0));
    this.#tidy(new Set(taken.map((entry) => entry.group)));
    return taken.length;
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
    this.#cost -= entry.length;
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
