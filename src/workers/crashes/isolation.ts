import { abortable } from "../../abortable.ts";

/**
 * Many may pass at once, or one alone. Who asks to be alone waits for those inside, and those who come later wait for it: a
 * slice that is suspected of killing the process must be the only one that can be blamed.
 */
export class Isolation {
  #inside = 0;
  /** Settles when whoever is, or waits to be, alone is through. */
  #alone: Promise<void> = Promise.resolve();
  #left: (() => void) | undefined;

  /**
   * @param work `leave` ends its stay before it is done: what it does from then on holds up nobody
   * @param signal ends the wait, not the work
   */
  async together<T>(work: (leave: () => void) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let alone = this.#alone; ; alone = this.#alone) {
      await abortable(alone, signal);
      if (alone === this.#alone) break;
    }
    this.#inside += 1;
    let isInside = true;
    const leave = () => {
      if (!isInside) return;
      isInside = false;
      this.#inside -= 1;
      if (this.#inside === 0) this.#left?.();
    };
    try {
      return await work(leave);
    } finally {
      leave();
    }
  }

  /** @param signal ends the wait, not the work */
  async alone<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const before = this.#alone;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#alone = promise;
    try {
      await abortable(before, signal);
      if (this.#inside > 0) await this.#empty(signal);
      return await work();
    } finally {
      // Whoever gave up waiting lets the next one in no earlier than the one before it is through.
      void before.then(resolve);
    }
  }

  /** Only one waits for it at a time: the others wait for that one. */
  async #empty(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#left = resolve;
    try {
      await abortable(promise, signal);
    } finally {
      this.#left = undefined;
    }
  }
}
