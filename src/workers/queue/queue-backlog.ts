/** The slices that wait in a queue, and the workers that serve it. */
export type Backlog = { waiting: number; workers: number };

/** A reading of the waiting slices is used for this long, in ms. */
const WAITING_MS = 100;
/** A reading of the number of workers is used for this long, in ms. */
const WORKERS_MS = 2_000;

export type BacklogReaders = {
  /** The number of slices that wait in the queue. */
  waiting: () => Promise<number>;
  /** The number of workers that serve the queue, this one included. It may not be registered yet. */
  workers: () => Promise<number>;
};

/**
 * How many slices of a queue a worker may have in hand, so that none waits behind another one while a worker is idle. Each other worker
 * may need slices before this one has begun its next: a worker with n slices takes another one only while at least n slices for each
 * worker wait. So the slices that workers have in hand become fewer towards the end of a run, as in guided self-scheduling
 * (Polychronopoulos and Kuck, 1987).
 */
export class QueueBacklog {
  readonly #readers: BacklogReaders;
  readonly #now: () => number;
  #known: Backlog | undefined;
  /** When the last reading began, and the times of what is known. */
  #readAt = Number.NEGATIVE_INFINITY;
  #waitingAt = Number.NEGATIVE_INFINITY;
  #workersAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  /** @param now the clock, in ms */
  constructor(readers: BacklogReaders, now = () => performance.now()) {
    this.#readers = readers;
    this.#now = now;
  }

  /** The most slices that a worker with `inHand` of them may have, at least 1. No more than it has if a reading is outdated or missing. */
  mostInHand(inHand: number): number {
    if (!this.#known || this.#isOutdated(this.#now())) return Math.max(1, inHand);
    const { waiting, workers } = this.#known;
    return workers === 1 ? Number.POSITIVE_INFINITY : 1 + Math.floor((waiting + inHand) / (workers + 1));
  }

  /** This worker took a slice: one less waits since the last reading. */
  take(): void {
    if (this.#known) this.#known.waiting = Math.max(0, this.#known.waiting - 1);
  }

  /** Reads again what is outdated. @returns undefined if nothing is; else settles after the reading, and never rejects */
  refresh(): Promise<void> | undefined {
    const now = this.#now();
    if (this.#reading || now - this.#readAt < WAITING_MS || !this.#isOutdated(now)) return undefined;
    this.#readAt = now;
    const workers = now - this.#workersAt < WORKERS_MS ? this.#known?.workers : undefined;
    this.#reading = this.#read(workers).finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** A reading that fails changes nothing: without Redis, no slice can be taken either. */
  async #read(known: number | undefined): Promise<void> {
    try {
      const workers = known ?? Math.max(1, await this.#readers.workers());
      const waiting = workers === 1 ? 0 : await this.#readers.waiting();
      this.#waitingAt = this.#now();
      if (known === undefined) this.#workersAt = this.#waitingAt;
      this.#known = { waiting, workers };
    } catch {}
  }

  /** For a worker that is alone, only the number of workers matters. */
  #isOutdated(now: number): boolean {
    const isAlone = this.#known?.workers === 1;
    return now - this.#workersAt >= WORKERS_MS || (!isAlone && now - this.#waitingAt >= WAITING_MS);
  }
}
