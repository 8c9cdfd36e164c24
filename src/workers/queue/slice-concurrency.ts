import type { Worker } from "bullmq";

/** A slice in hand. Call `done` with the number of items that are done, and dispose of it when the slice ends. */
export type ItemsInHand = { done: (count: number) => void; [Symbol.dispose]: () => void };

/**
 * Sets the concurrency of a queue's worker by the items in hand: it takes another slice as soon as fewer than `wanted`
 * items are in hand, and none while there are more. So a worker that starts later finds slices too.
 */
export class SliceConcurrency {
  readonly #wanted: () => number;
  readonly #max: number;
  readonly #worker: () => Worker;
  #slices = 0;
  #items = 0;
  /** Expected number of items of the next slice: a mean of the last slices, in which the latest counts most. */
  #typical = 0;

  /**
   * @param wanted how many items in hand are enough; called each time, because it depends on the items seen so far
   * @param max upper bound of the concurrency
   */
  constructor(worker: () => Worker, wanted: () => number, max: number) {
    this.#worker = worker;
    this.#wanted = wanted;
    this.#max = max;
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

  #adjust(): void {
    const worker = this.#worker();
    const room = this.#wanted() - this.#items;
    const before = worker.concurrency;
    // With room: as many more slices as are likely to fit, at least one. Without: one less, so that no slice follows
    // the next that ends.
    const more = room > 0 ? Math.max(1, Math.floor(room / Math.max(1, this.#typical))) : -1;
    worker.concurrency = Math.min(this.#max, Math.max(1, this.#slices + more));
    // BullMQ reads its concurrency only when a job ends or when it is resumed.
    if (worker.concurrency > before && !worker.closing && !worker.isPaused()) {
      void worker.pause(true);
      void worker.resume();
    }
  }
}
