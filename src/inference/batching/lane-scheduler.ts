import type { Lane } from "../../schemas/names.ts";
import { Batch, type BatchRules } from "./batch.ts";
import { BatchQueue } from "./batch-queue.ts";
import type { Entry, Waiting } from "./length-sorted-list.ts";

/** While bulk items wait, their lane gets one part in this many of the batches' padded cost. */
export const BULK_PART = 5;

/** The time of a batch of bulk items while interactive items keep coming: the longest wait for a thread. */
export const SHORT_BATCH_MS = 100;
/** A short batch has at least this part of the budget: a model whose batches all take the same time would otherwise become slow. */
const LEAST_OF_BUDGET = 1 / 8;
/** Bulk items are added to a batch of interactive items while it takes no longer than this. */
export const SHARED_BATCH_MS = 25;

/** A batch, and what `putBack` needs to know of it. */
export type Cut<T> = {
  batch: Batch<Entry<T>>;
  /** Whether it may wait for interactive items: it has bulk items only, and not because bulk is behind its share. */
  canWait: boolean;
  /** Whether it has less than the best budget on purpose: its speed says nothing about the budget. */
  isShort: boolean;
  /** How much the batch changed what bulk is owed. */
  owed: number;
};

/**
 * Waiting items in two lanes. A batch takes interactive items that fit and is filled up with bulk items of similar length, for a short
 * time. When bulk is so far behind its share that a full batch of it would not exceed the share, the batch takes bulk items only. If
 * items wait in one lane only, that lane gets everything. While interactive items keep coming, batches of bulk items are short.
 *
 * A bulk batch that has not begun can be put back: its items then go before all other bulk items, in as many batches as their budgets
 * require.
 *
 * Invariants. Within a lane, that of BatchQueue: only batches with items of the lane pass over its items. The batches of items that
 * were put back count as the one batch that they were cut as. Across lanes, with L the padded cost of the largest batch (the largest
 * budget, or one longer item):
 * - In any sequence of batches while bulk waits, bulk's cost is at least a fifth of the total, less L.
 * - While interactive items wait, consecutive batches without any cost at most 1¼ L together.
 */
export class LaneScheduler<T> {
  readonly #interactive = new BatchQueue<T>();
  readonly #bulk = new BatchQueue<T>();
  /** Items of bulk batches that were put back, oldest batch first. */
  #returned: Waiting<T>[] = [];
  /** BULK_PART times the cost that bulk lacks to its share. Never negative: cost from times when bulk was alone does not count. */
  #owed = 0;

  /** Items that wait. */
  get size(): number {
    return this.#interactive.size + this.#bulkSize;
  }

  /** The sum of the lengths of the waiting items. */
  get cost(): number {
    return this.#interactive.cost + this.#bulk.cost + this.#returned.reduce((sum, { length }) => sum + length, 0);
  }

  /** Adds items that arrive together. Lengths are positive. @returns a function that drops those that still wait */
  add(lane: Lane, items: readonly Entry<T>[]): () => void {
    const queue = lane === "interactive" ? this.#interactive : this.#bulk;
    const group = queue.add(items);
    return () => {
      queue.discard(group);
      this.#returned = this.#returned.filter((entry) => entry.group !== group);
    };
  }

  /** Whether the next batch begins with an interactive item. */
  isInteractiveNext(rules: BatchRules, keepComing: boolean): boolean {
    return this.#interactive.size > 0 && !this.#isBulkDue(rules, keepComing);
  }

  /** About the budget of the next batch; undefined if no item waits. */
  nextBudget(rules: BatchRules, keepComing: boolean): number | undefined {
    const length = this.#interactive.nextLength ?? this.#nextBulkLength;
    if (length === undefined) return undefined;
    const most = this.#interactive.size > 0 || !keepComing ? Number.POSITIVE_INFINITY : this.#shortBulk(rules);
    return Math.min(rules.peek(length), most);
  }

  /**
   * Cuts the next batch. It is empty only if no item waits. Its padded cost exceeds the budget only if it has one item.
   * @param keepComing whether interactive items keep coming, so that a batch of bulk items has to be short
   */
  cut(rules: BatchRules, keepComing = false): Cut<T> {
    const isUrgent = this.#interactive.size > 0;
    const { batch, bulk, isShort } = this.isInteractiveNext(rules, keepComing)
      ? this.#cutInteractive(rules)
      : this.#cutBulk(rules, keepComing);
    const before = this.#owed;
    const owed = before + batch.cost(batch.entries.length) - BULK_PART * batch.cost(bulk);
    this.#owed = this.#bulkSize > 0 ? Math.max(0, owed) : 0;
    const canWait = bulk === batch.entries.length && !isUrgent;
    return { batch, canWait, isShort, owed: this.#owed - before };
  }

  /** Takes back the items of a batch that has not begun and can wait. They stay before all other bulk items. */
  putBack({ batch, owed }: Cut<T>): void {
    this.#returned.push(...(batch.entries as Waiting<T>[]));
    this.#owed = Math.max(0, this.#owed - owed);
  }

  /** With interactive items first. If bulk items wait, the batch tests no other budget: it may not become full. */
  #cutInteractive(rules: BatchRules): { batch: Batch<Waiting<T>>; bulk: number; isShort: boolean } {
    const length = this.#interactive.nextLength!;
    const most = this.#bulkSize > 0 ? rules.within(length, SHARED_BATCH_MS) : Number.POSITIVE_INFINITY;
    const isShort = most < rules.reach;
    const batch = new Batch<Waiting<T>>(rules, isShort ? () => rules.peek(length) : undefined);
    this.#interactive.fill(batch);
    batch.limitTo(most);
    return { batch, bulk: this.#fillWithBulk(batch), isShort };
  }

  #cutBulk(rules: BatchRules, keepComing: boolean): { batch: Batch<Waiting<T>>; bulk: number; isShort: boolean } {
    const most = keepComing ? this.#shortBulk(rules) : Number.POSITIVE_INFINITY;
    const isShort = most < rules.reach;
    const batch = new Batch<Waiting<T>>(rules, isShort ? (length) => Math.min(rules.peek(length), most) : undefined);
    return { batch, bulk: this.#fillWithBulk(batch), isShort };
  }

  /** Items that were put back first, and others only when none of those wait. @returns how many items were moved */
  #fillWithBulk(batch: Batch<Waiting<T>>): number {
    const before = batch.entries.length;
    const refused = this.#returned.findIndex((entry) => !batch.take(entry));
    this.#returned.splice(0, refused === -1 ? this.#returned.length : refused);
    if (this.#returned.length === 0) this.#bulk.fill(batch);
    return batch.entries.length - before;
  }

  /** Whether bulk is so far behind its share that a batch of it does not exceed the share. */
  #isBulkDue(rules: BatchRules, keepComing: boolean): boolean {
    if (this.#bulkSize === 0) return false;
    const most = keepComing ? Math.min(rules.reach, this.#shortBulk(rules)) : rules.reach;
    return this.#owed >= (BULK_PART - 1) * most;
  }

  /** The largest cost of the next batch of bulk items while interactive items keep coming. */
  #shortBulk(rules: BatchRules): number {
    const length = this.#nextBulkLength;
    if (length === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(rules.within(length, SHORT_BATCH_MS), rules.peek(length) * LEAST_OF_BUDGET);
  }

  get #bulkSize(): number {
    return this.#bulk.size + this.#returned.length;
  }

  get #nextBulkLength(): number | undefined {
    return this.#returned[0]?.length ?? this.#bulk.nextLength;
  }
}
