import type { Lane } from "../../schemas/names.ts";
import type { CutReason } from "./batch.ts";

/** An item of a batch, with the call that added it. */
type Counted = { length: number; value: { call: { lane: Lane; addedAt: number } } };

/** Totals since the start. Costs are in tokens (texts) or items (images), times in milliseconds. */
export class BatcherStats {
  batches = 0;
  items = 0;
  /** Cost of the batches without and with padding. */
  realCost = 0;
  paddedCost = 0;
  /** Time in which at least one batch ran. */
  busyMs = 0;
  /** Time in which the model ran, summed over all threads. */
  inferMs = 0;
  /** Time from the addition of an item to its answer, without the run of its batch, summed over all items. */
  queuedMs = 0;
  /** Why batches were not larger. */
  readonly cuts: Record<CutReason, number> = { full: 0, drained: 0, lengths: 0 };
  /** Each lane's share of `items` and `realCost`. */
  readonly lanes: Record<Lane, { items: number; realCost: number }> = {
    interactive: { items: 0, realCost: 0 },
    bulk: { items: 0, realCost: 0 },
  };

  /** Counts a batch that was cut. @returns its cost without padding */
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

  /** Takes a batch out that was counted and has not run. */
  uncountBatch(entries: readonly Counted[], paddedCost: number, reason: CutReason): void {
    this.batches--;
    this.cuts[reason]--;
    this.items -= entries.length;
    this.paddedCost -= paddedCost;
    for (const { length, value } of entries) {
      const lane = this.lanes[value.call.lane];
      this.realCost -= length;
      lane.items--;
      lane.realCost -= length;
    }
  }

  /** Counts a batch that the model has finished. */
  countAnswers(entries: readonly Counted[], ms: number): void {
    const now = performance.now();
    this.inferMs += ms;
    for (const { value } of entries) this.queuedMs += now - value.call.addedAt - ms;
  }
}
