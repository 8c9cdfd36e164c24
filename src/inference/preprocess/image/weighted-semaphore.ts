/** Releases a permit. Further calls have no effect. */
export type Release = () => void;

/**
 * Permits of different weights, first come, first served: light requests do not overtake a heavy one. A weight over the capacity
 * counts as the whole capacity, so its holder runs alone.
 */
export class WeightedSemaphore {
  readonly #capacity: number;
  #held = 0;
  readonly #waiting: { weight: number; admit: () => void; reject: (error: Error) => void }[] = [];
  #closed: Error | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get held(): number {
    return this.#held;
  }

  /** @throws the error passed to `close` */
  async take(requested: number): Promise<Release> {
    if (this.#closed) throw this.#closed;
    const weight = Math.min(requested, this.#capacity);
    if (this.#waiting.length === 0 && this.#held + weight <= this.#capacity) this.#held += weight;
    else await new Promise<void>((admit, reject) => this.#waiting.push({ weight, admit, reject }));
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#held -= weight;
      this.#admit();
    };
  }

  /** Rejects waiting and future requests. */
  close(error: Error): void {
    this.#closed = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #admit(): void {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || this.#held + next.weight > this.#capacity) return;
      this.#waiting.shift();
      this.#held += next.weight;
      next.admit();
    }
  }
}
