import type { Worker } from "bullmq";

/**
 * How many slices a worker takes, by the items it holds: another one as soon as fewer than `fullAt` items are on hand, none
 * while more are, so that a worker that comes later finds work too.
 */
export class SliceConcurrency {
  readonly #fullAt: () => number;
  readonly #most: number;
  readonly #worker: () => Worker;
  #slices = 0;
  #items = 0;
  /** Items that the next slice may be expected to have: those of the last ones, the latest counting most. */
  #typical = 0;

  /** @param fullAt how many items are enough, asked anew each time: it depends on how long they turn out to be */
  constructor(worker: () => Worker, fullAt: () => number, most: number) {
    this.#worker = worker;
    this.#fullAt = fullAt;
    this.#most = most;
  }

  /** A slice of so many items was taken. The answer is to be called for each item that is through, and with the rest at the end. */
  take(items: number): { done: (count: number) => void; [Symbol.dispose]: () => void } {
    let left = items;
    this.#typical = this.#typical === 0 ? items : (this.#typical + items) / 2;
    this.#slices += 1;
    this.#items += items;
    this.#adjust();
    const done = (count: number) => {
      const counted = Math.min(count, left);
      left -= counted;
      this.#items -= counted;
      // Not by whether it was full before: what is full depends on how fast the model turns out to be.
      if (this.#items < this.#fullAt() && this.#worker().concurrency <= this.#slices) this.#adjust();
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
    const room = this.#fullAt() - this.#items;
    const before = worker.concurrency;
    // As many more as are likely to fit, at least one. Without room, one less than is running: a slice that ends is then not replaced.
    const more = room > 0 ? Math.max(1, Math.floor(room / Math.max(1, this.#typical))) : -1;
    worker.concurrency = Math.min(this.#most, Math.max(1, this.#slices + more));
    // BullMQ looks at its concurrency only when a job ends or when it is resumed.
    if (worker.concurrency > before && !worker.closing && !worker.isPaused()) {
      void worker.pause(true);
      void worker.resume();
    }
  }
}
