const WINDOW_MS = 60_000;

/** Totals at a time, over all threads: in which the model ran, and in which the threads existed. In ms. */
type Sample = { at: number; inferMs: number; threadMs: number };

/** Shares from 0 to 1. Null before the first reading. */
export type Busy = { sinceStart: number | null; lastMinute: number | null };

/**
 * How busy a model's threads are: time in which the model ran ÷ (threads × time), since the start and in the last
 * minute.
 */
export class BusyMeter {
  /** Oldest first. The first one is at least a minute old, once the meter is. */
  readonly #samples: Sample[];

  /** @param now in ms, of the same clock as in `read` */
  constructor(now: number) {
    this.#samples = [{ at: now, inferMs: 0, threadMs: 0 }];
  }

  /**
   * The last minute begins at a reading, so it is a little longer than a minute, and shorter at first.
   * @param inferMs total since the start over all threads, in ms; a batch counts when it ends
   * @param threads number of threads since the last reading
   */
  read(now: number, inferMs: number, threads: number): Busy {
    const samples = this.#samples;
    const { at, threadMs } = samples.at(-1)!;
    const sample = { at: now, inferMs, threadMs: threadMs + threads * (now - at) };
    samples.push(sample);
    while (now - samples[1]!.at >= WINDOW_MS) samples.shift();
    return {
      sinceStart: share(inferMs, sample.threadMs),
      lastMinute: share(inferMs - samples[0]!.inferMs, sample.threadMs - samples[0]!.threadMs),
    };
  }
}

/** At most 1: a batch that began before the window counts in full. */
function share(inferMs: number, threadMs: number): number | null {
  return threadMs > 0 ? Math.min(1, inferMs / threadMs) : null;
}
