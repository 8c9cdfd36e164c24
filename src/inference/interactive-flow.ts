/** Interactive items keep coming until none has arrived for this long, in ms. */
export const KEEP_COMING_MS = 5_000;

/** Notes when interactive items arrive. While they keep coming, bulk work leaves them room. */
export class InteractiveFlow {
  readonly #now: () => number;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** @param now the clock, in ms */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** An interactive item has arrived. */
  note(): void {
    this.#lastAt = this.#now();
  }

  get keepsComing(): boolean {
    return this.#now() - this.#lastAt < KEEP_COMING_MS;
  }
}
