import type { Lane } from "../../schemas/names.ts";
import { Batch, type BatchRules } from "./batch.ts";
import { BatchQueue } from "./batch-queue.ts";
import type { Entry, Waiting } from "./length-sorted-list.ts";

/** While bulk items wait, their lane gets one part in this many of the batches' padded cost. */
export const BULK_PART = 5;

/**
 * Waiting items in two lanes. A batch takes interactive items that fit and is filled up with bulk items of similar length. When
 * bulk is so far behind its share that a full batch of it would not exceed the share, the batch takes bulk items only. If items
 * wait in one lane only, that lane gets everything.
 *
 * Invariants. Within a lane, that of BatchQueue: only batches with items of the lane pass over its items. Across lanes, with L the
 * padded cost of the largest batch (the largest budget, or one longer item):
 * - In any sequence of batches while bulk waits, bulk's cost is at least a fifth of the total, less L.
 * - While interactive items wait, consecutive batches without any cost at most 1¼ L together.
 */
export class LaneScheduler<T> {
  readonly #interactive = new BatchQueue<T>();
  readonly #bulk = new BatchQueue<T>();
  /** BULK_PART times the cost that bulk lacks to its share. Never negative: cost from times when bulk was alone does not count. */
  #owed = 0;

  /** Items that wait. */
  get size(): number {
    return this.#interactive.size + this.#bulk.size;
  }

  /** The sum of the lengths of the waiting items. */
  get cost(): number {
    return this.#interactive.cost + this.#bulk.cost;
  }

  /** Adds items that arrive together. Lengths are positive. @returns a function that drops those that still wait */
  add(lane: Lane, items: readonly Entry<T>[]): () => void {
    const queue = lane === "interactive" ? this.#interactive : this.#bulk;
    const group = queue.add(items);
    return () => queue.discard(group);
  }

  /** The length of the item that the next batch will probably begin with; undefined if no item waits. */
  get nextLength(): number | undefined {
    return this.#interactive.nextLength ?? this.#bulk.nextLength;
  }

  /** Cuts the next batch. It is empty only if no item waits. Its padded cost exceeds the budget only if it has one item. */
  cut(rules: BatchRules): Batch<Entry<T>> {
    const batch = new Batch<Waiting<T>>(rules);
    const isBulkDue = this.#bulk.size > 0 && this.#owed >= (BULK_PART - 1) * rules.reach;
    if (!isBulkDue) this.#interactive.fill(batch);
    const bulk = this.#bulk.fill(batch);
    const owed = this.#owed + batch.cost(batch.entries.length) - BULK_PART * batch.cost(bulk);
    this.#owed = this.#bulk.size > 0 ? Math.max(0, owed) : 0;
    return batch;
  }
}
