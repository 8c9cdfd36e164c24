import { abortable } from "../../abortable.ts";

/**
 * A shared and exclusive lock. Many slices run under the shared lock, or one under the exclusive lock: a slice that is
 * suspected of crashing the process must be the only one that can be blamed. An exclusive request waits for the running
 * slices, and later requests wait for it.
 */
export class Isolation {
  #running = 0;
  /** Settles when the last exclusive request so far is done. */
  #exclusive: Promise<void> = Promise.resolve();
  #onLastLeft: (() => void) | undefined;

  /**
   * @param work `leave` releases the lock early: the rest of the work blocks no other slice
   * @param signal ends the wait, not the work
   */
  async shared<T>(work: (leave: () => void) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let exclusive = this.#exclusive; ; exclusive = this.#exclusive) {
      await abortable(exclusive, signal);
      if (exclusive === this.#exclusive) break;
    }
    this.#running += 1;
    let isRunning = true;
    const leave = () => {
      if (!isRunning) return;
      isRunning = false;
      this.#running -= 1;
      if (this.#running === 0) this.#onLastLeft?.();
    };
    try {
      return await work(leave);
    } finally {
      leave();
    }
  }

  /** @param signal ends the wait, not the work */
  async exclusive<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const before = this.#exclusive;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#exclusive = promise;
    try {
      await abortable(before, signal);
      if (this.#running > 0) await this.#allLeft(signal);
      return await work();
    } finally {
      // A request that stops waiting must not let the next one in before the one ahead of it is done.
      void before.then(resolve);
    }
  }

  /** Only one exclusive request waits here at a time: the others wait for that one. */
  async #allLeft(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onLastLeft = resolve;
    try {
      await abortable(promise, signal);
    } finally {
      this.#onLastLeft = undefined;
    }
  }
}
