import type { Lane } from "../../schemas/names.ts";
import { Batch, type BatchRules } from "./batch.ts";
import { BatchQueue } from "./batch-queue.ts";
import type { Entry, Waiting } from "./length-sorted-list.ts";

/** While bulk waits, one part in this many of the batches' padded cost is its own. */
export const BULK_PART = 5;

/**
 * What waits, in two lanes. A batch takes what it can of interactive and is topped up with bulk of similar length; when bulk
 * is owed so much that a full batch of it would do no more than make up for that, the batch is bulk's alone. A lane that
 * waits alone gets everything.
 *
 * Invariants. Within a lane that of BatchQueue: only batches that took something of the lane pass over its items. Across lanes,
 * with L the padded cost of the largest batch (the largest budget, or one longer item):
 * - Of any row of batches while bulk waits, bulk's cost is a fifth of the row's, less L at most.
 * - While interactive waits, the batches without it that come in a row cost 1¼ L together at most.
 */
export class LaneScheduler<T> {
  readonly #interactive = new BatchQueue<T>();
  readonly #bulk = new BatchQueue<T>();
  /** BULK_PART times the cost that bulk is short of its share. Never negative: what bulk got while it was alone is not held against it. */
  #owed = 0;

  /** Items that wait. */
  get size(): number {
    return this.#interactive.size + this.#bulk.size;
  }

  /** The sum of the lengths of what waits. */
  get cost(): number {
    return this.#interactive.cost + this.#bulk.cost;
  }

  /** Adds items that arrive together; lengths are positive. The function that comes back drops those that still wait. */
  add(lane: Lane, items: readonly Entry<T>[]): () => void {
    const queue = lane === "interactive" ? this.#interactive : this.#bulk;
    const group = queue.add(items);
    return () => queue.discard(group);
  }

  /** The length of the item that the next batch begins with, most likely; undefined if nothing waits. */
  get nextLength(): number | undefined {
    return this.#interactive.nextLength ?? this.#bulk.nextLength;
  }

  /** Takes the next batch; empty only if nothing waits. Its padded cost exceeds the budget only if it is one item. */
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
