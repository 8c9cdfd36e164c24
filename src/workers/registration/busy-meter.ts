const WINDOW_MS = 60_000;

/** Totals as they stood at a time: in which the model ran, of all its threads, and that the threads were there. */
type Sample = { at: number; inferMs: number; threadMs: number };

/** Shares from 0 to 1; null before there was any time. */
export type Busy = { sinceStart: number | null; lastMinute: number | null };

/** How busy a model's threads are: the time in which it ran ÷ (threads × time). Read now and then, it remembers the last minute. */
export class BusyMeter {
  /** Oldest first: one that is a minute old, if there is, and those after it. */
  readonly #samples: Sample[];

  /** @param now in ms, on the clock of `read` */
  constructor(now: number) {
    this.#samples = [{ at: now, inferMs: 0, threadMs: 0 }];
  }

  /**
   * The last minute is what has passed since the reading before it: a little more than a minute, or less at first.
   * @param inferMs since the start, of all threads; a batch counts when it ends
   * @param threads that there were since the last reading
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

/** A batch that began before the time that it ends in would make it more than all. */
function share(inferMs: number, threadMs: number): number | null {
  return threadMs > 0 ? Math.min(1, inferMs / threadMs) : null;
}
