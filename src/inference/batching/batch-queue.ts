import type { Batch } from "./batch.ts";
import { compareWaiting, type Entry, type Group, LengthSortedList, type Waiting } from "./length-sorted-list.ts";

/** The most batches that may pass over a waiting item: that contain an item of the same queue that arrived later. */
export const MAX_PASSED_OVER = 8;

/**
 * The items that wait for a batch. An empty batch begins with the longest item of the oldest group. It then takes the items of all
 * groups that are nearest in length to its first item, shorter ones first, while they fit.
 *
 * Invariant: no item is passed over by more than MAX_PASSED_OVER batches. An item's count is the number of batches whose newest
 * item of this queue arrived after it. So all items of a group have the same count, and an older group's count is at least as
 * high as a younger one's.
 */
export class BatchQueue<T> {
  readonly #all = new LengthSortedList<T>();
  /** Groups with waiting items, oldest first. */
  readonly #groups = new Set<Group<T>>();
  /** The newest arrival of each batch that took items newer than the oldest group. At most MAX_PASSED_OVER entries. */
  #ahead: number[] = [];
  #arrivals = 0;
  #added = 0;
  #cost = 0;

  /** Items that wait. */
  get size(): number {
    return this.#all.size;
  }

  /** The sum of the lengths of the waiting items. */
  get cost(): number {
    return this.#cost;
  }

  /** The length of the item that an empty batch would begin with; undefined if no item waits. */
  get nextLength(): number | undefined {
    const [oldest] = this.#groups;
    return oldest?.waiting.longest()?.length;
  }

  /** Adds items that arrive together. Lengths are positive. @returns their group, for `discard` */
  add(items: readonly Entry<T>[]): Group<T> {
    const group: Group<T> = { arrival: this.#arrivals++, waiting: new LengthSortedList<T>() };
    const sorted = items
      .map(({ length, value }): Waiting<T> => ({ length, value, group, order: this.#added++, taken: false }))
      .sort(compareWaiting);
    if (sorted.length === 0) return group;
    this.#groups.add(group);
    group.waiting.merge(sorted);
    this.#all.merge(sorted);
    for (const { length } of sorted) this.#cost += length;
    return group;
  }

  /** Moves items that fit to a batch. An empty batch stays empty only if no item waits. @returns how many items were moved */
  fill(batch: Batch<Waiting<T>>): number {
    const [oldest] = this.#groups;
    if (!oldest) return 0;
    const before = batch.entries.length;
    const take = (entry: Waiting<T>): boolean => {
      const fits = batch.take(entry);
      if (fits) this.#mark(entry);
      return fits;
    };
    if (before === 0) take(oldest.waiting.longest()!);
    const { length } = batch.entries[0]!;
    for (const group of this.#groups) {
      if (this.#passedOver(group) < MAX_PASSED_OVER) {
        this.#all.offer(length, take);
        break;
      }
      // The whole group must be taken before any newer item.
      group.waiting.offer(length, take);
      if (group.waiting.size > 0) break;
    }
    const taken = batch.entries.slice(before);
    this.#ahead.push(taken.reduce((newest, entry) => Math.max(newest, entry.group.arrival), 0));
    this.#sweep(new Set(taken.map((entry) => entry.group)));
    return taken.length;
  }

  /** Drops the items of a group that still wait. @returns how many these were */
  discard(group: Group<T>): number {
    const dropped = [...group.waiting];
    for (const entry of dropped) this.#mark(entry);
    this.#sweep([group]);
    return dropped.length;
  }

  #mark(entry: Waiting<T>): void {
    entry.taken = true;
    entry.group.waiting.countTaken();
    this.#all.countTaken();
    this.#cost -= entry.length;
  }

  #passedOver(group: Group<T>): number {
    return this.#ahead.filter((newest) => newest > group.arrival).length;
  }

  #sweep(touched: Iterable<Group<T>>): void {
    this.#all.sweep();
    for (const group of touched) {
      group.waiting.sweep();
      if (group.waiting.size === 0) this.#groups.delete(group);
    }
    const [oldest] = this.#groups;
    this.#ahead = oldest ? this.#ahead.filter((newest) => newest > oldest.arrival) : [];
  }
}
