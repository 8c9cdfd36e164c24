/** Of one kind a line is told once in this time, with how many there were meanwhile. */
const REST_MS = 60_000;
const MOST_KINDS = 100;

/** Tells of each kind at once, then again after a rest at the earliest: an outage has thousands of slices fail for one reason. */
export class LogThrottle {
  readonly #restMs: number;
  readonly #kinds = new Map<string, { toldAt: number; count: number }>();

  constructor(restMs = REST_MS) {
    this.#restMs = restMs;
  }

  /** @param say is given the count of what came since it was told last */
  tell(kind: string, count: number, say: (count: number) => void): void {
    // Messages of others may be of any number.
    const key = this.#kinds.has(kind) || this.#kinds.size < MOST_KINDS ? kind : "";
    const known = this.#kinds.get(key) ?? { toldAt: Number.NEGATIVE_INFINITY, count: 0 };
    known.count += count;
    if (performance.now() - known.toldAt >= this.#restMs) {
      say(known.count);
      known.toldAt = performance.now();
      known.count = 0;
    }
    this.#kinds.set(key, known);
  }
}
