import type { Worker } from "bullmq";
import type { QueueBacklog } from "./queue-backlog.ts";

/** While other workers may need the waiting slices first, their number is read again after this time, in ms. */
const BACKLOG_POLL_MS = 500;

/** A slice in hand. Call `done` with the number of items that are done, and dispose of it when the slice ends. */
export type ItemsInHand = { done: (count: number) => void; [Symbol.dispose]: () => void };

/**
 * Sets the concurrency of a queue's worker by the items in hand: it takes another slice as soon as fewer than `wanted`
 * items are in hand, and none while there are more. So a worker that starts later finds slices too. With a backlog, it
 * also takes no slice ahead that another worker may need first.
 */
export class SliceConcurrency {
  readonly #wanted: () => number;
  readonly #max: number;
  readonly #worker: () => Worker;
  readonly #backlog: QueueBacklog | undefined;
  #slices = 0;
  #items = 0;
  /** Expected number of items of the next slice: a mean of the last slices, in which the latest counts most. */
  #typical = 0;
  #poll: NodeJS.Timeout | undefined;

  /**
   * @param wanted how many items in hand are enough; called each time, because it depends on the items seen so far
   * @param max upper bound of the concurrency
   * @param backlog of the queue. Default: slices are taken without regard to other workers
   */
  constructor(worker: () => Worker, wanted: () => number, max: number, backlog?: QueueBacklog) {
    this.#worker = worker;
    this.#wanted = wanted;
    this.#max = max;
    this.#backlog = backlog;
  }

  /** The number of items in hand. */
  get items(): number {
    return this.#items;
  }

  /** Counts a slice of `items` items until it is disposed of. */
  take(items: number): ItemsInHand {
    let left = items;
    this.#typical = this.#typical === 0 ? items : (this.#typical + items) / 2;
    this.#slices += 1;
    this.#items += items;
    this.#backlog?.take();
    this.#adjust();
    const done = (count: number) => {
      const counted = Math.min(count, left);
      left -= counted;
      this.#items -= counted;
      // Whether enough was in hand before does not matter: `wanted` changes with the measured speed of the model.
      if (this.#items < this.#wanted() && this.#worker().concurrency <= this.#slices) this.#adjust();
    };
    return {
      done,
      [Symbol.dispose]: () => {
        this.#slices -= 1;
        done(left);
        this.#adjust();
      },
    };
  }

  /** @param isLimited whether more slices are wanted than may be taken now */
  #readBacklog(isLimited: boolean): void {
    void this.#backlog?.refresh()?.then(() => this.#adjust());
    if (!isLimited || !this.#backlog) return;
    this.#poll ??= setTimeout(() => {
      this.#poll = undefined;
      this.#adjust();
    }, BACKLOG_POLL_MS).unref();
  }

  #adjust(): void {
    const worker = this.#worker();
    const room = this.#wanted() - this.#items;
    const before = worker.concurrency;
    // With room: as many more slices as are likely to fit, at least one. Without: one less, so that no slice follows
    // the next that ends.
    const more = room > 0 ? Math.max(1, Math.floor(room / Math.max(1, this.#typical))) : -1;
    const most = Math.min(this.#max, this.#backlog?.mostInHand(this.#slices) ?? this.#max);
    worker.concurrency = Math.min(most, Math.max(1, this.#slices + more));
    if (this.#slices > 0 && more > 0) this.#readBacklog(most < this.#slices + more);
    // BullMQ reads its concurrency only when a job ends or when it is resumed.
    if (worker.concurrency > before && !worker.closing && !worker.isPaused()) {
      void worker.pause(true);
      void worker.resume();
    }
  }
}
