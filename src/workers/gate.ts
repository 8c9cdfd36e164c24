/**
 * Many may pass at once, or one alone. Who asks to be alone waits for those inside, and those who come later wait for it: a
 * slice that is suspected of killing the process must be the only one that can be blamed.
 */
export class Gate {
  #inside = 0;
  /** Settles when whoever is, or waits to be, alone is through. */
  #alone: Promise<void> = Promise.resolve();
  #left: (() => void) | undefined;

  async together<T>(work: () => Promise<T>): Promise<T> {
    for (let alone = this.#alone; ; alone = this.#alone) {
      await alone;
      if (alone === this.#alone) break;
    }
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      if (this.#inside === 0) this.#left?.();
    }
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#alone;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#alone = promise;
    await before;
    if (this.#inside > 0) {
      await new Promise<void>((left) => {
        this.#left = left;
      });
      this.#left = undefined;
    }
    try {
      return await work();
    } finally {
      resolve();
    }
  }
}
