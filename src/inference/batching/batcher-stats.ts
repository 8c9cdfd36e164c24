import type { Lane } from "../../schemas/names.ts";
import type { CutReason } from "./batch.ts";

/** An item of a batch, and with which call it came. */
type Counted = { length: number; value: { call: { lane: Lane; addedAt: number } } };

/** Totals since the start. Costs are in tokens (texts) or items (images), times in milliseconds. */
export class BatcherStats {
  batches = 0;
  items = 0;
  /** Cost of the batches without and with padding. */
  realCost = 0;
  paddedCost = 0;
  /** Time in which a batch was out. */
  busyMs = 0;
  /** Time in which the model ran, of all threads. */
  inferMs = 0;
  /** Of all items, from their being added to their answer, but for the time of their batch in the model. */
  queuedMs = 0;
  /** Why batches were not larger. */
  readonly cuts: Record<CutReason, number> = { full: 0, drained: 0, lengths: 0 };
  /** What each lane has of `items` and `realCost`. */
  readonly lanes: Record<Lane, { items: number; realCost: number }> = {
    interactive: { items: 0, realCost: 0 },
    bulk: { items: 0, realCost: 0 },
  };

  /** A batch was cut. @returns its cost without padding */
  countBatch(entries: readonly Counted[], paddedCost: number, reason: CutReason): number {
    this.batches++;
    this.cuts[reason]++;
    this.items += entries.length;
    this.paddedCost += paddedCost;
    let realCost = 0;
    for (const { length, value } of entries) {
      const lane = this.lanes[value.call.lane];
      realCost += length;
      lane.items++;
      lane.realCost += length;
    }
    this.realCost += realCost;
    return realCost;
  }

  /** The model is through with a batch. */
  countAnswers(entries: readonly Counted[], ms: number): void {
    const now = performance.now();
    this.inferMs += ms;
    for (const { value } of entries) this.queuedMs += now - value.call.addedAt - ms;
  }
}
