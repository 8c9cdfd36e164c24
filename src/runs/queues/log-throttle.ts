/** The next line of the same kind is logged after this time at the earliest. */
const MIN_INTERVAL_MS = 60_000;
const MAX_KINDS = 100;

/**
 * Logs the first event of each kind at once, and later ones at most once a minute, with their number: in an outage,
 * thousands of slices fail for the same reason.
 */
export class LogThrottle {
  readonly #minIntervalMs: number;
  readonly #kinds = new Map<string, { loggedAt: number; count: number }>();

  constructor(minIntervalMs = MIN_INTERVAL_MS) {
    this.#minIntervalMs = minIntervalMs;
  }

  /** @param write gets the number of events of this kind since the last line */
  log(kind: string, count: number, write: (count: number) => void): void {
    // Kinds may come from messages of other programs, so their number is bounded: all further ones are one kind.
    const key = this.#kinds.has(kind) || this.#kinds.size < MAX_KINDS ? kind : "";
    const entry = this.#kinds.get(key) ?? { loggedAt: Number.NEGATIVE_INFINITY, count: 0 };
    entry.count += count;
    if (performance.now() - entry.loggedAt >= this.#minIntervalMs) {
      write(entry.count);
      entry.loggedAt = performance.now();
      entry.count = 0;
    }
    this.#kinds.set(key, entry);
  }
}
