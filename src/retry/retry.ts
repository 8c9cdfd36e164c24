import { setTimeout as delay } from "node:timers/promises";
import { type Backoff, backoffMs } from "./backoff.ts";

/** A failed try. */
export type Failure = {
  /** Tries that have failed in a row, this one included. */
  failed: number;
  /** Whether no try is left. */
  isLast: boolean;
  /** The wait before the next try, in milliseconds, unless `onFailure` asks for a longer one. */
  waitMs: number;
};

export type RetryOptions = {
  /** All tries, the first one included. Default: no limit. */
  tries?: number;
  backoff: Backoff;
  /**
   * Decides what follows a failed try: throws the final error, or returns the shortest wait before the next try in
   * milliseconds (0 if the backoff decides alone). It must throw when `isLast` is set. Default: every failure except the
   * last is tried again.
   */
  onFailure?: (error: unknown, failure: Failure) => number;
  /** Ends the wait before the next try, at once. The work has to observe it by itself. */
  signal?: AbortSignal | undefined;
  /** The error for an aborted signal. Default: the signal's reason. */
  aborted?: (reason: unknown) => unknown;
};

/** The tries of one piece of work: counts those that failed and waits between them. */
export class Tries {
  readonly #options: RetryOptions;
  #failed = 0;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /** The count starts again: a try that made progress is not one of a row of failures. */
  reset(): void {
    this.#failed = 0;
  }

  /**
   * Counts a failed try and waits until the next one may start.
   *
   * @throws what `onFailure` throws; the error for an aborted signal
   */
  async next(error: unknown): Promise<void> {
    const { tries = Number.POSITIVE_INFINITY, backoff, onFailure = throwLast, signal, aborted } = this.#options;
    this.#failed += 1;
    const waitMs = backoffMs(this.#failed, backoff);
    const atLeastMs = onFailure(error, { failed: this.#failed, isLast: this.#failed >= tries, waitMs });
    try {
      await delay(Math.max(waitMs, atLeastMs), undefined, { signal });
    } catch (interruption) {
      if (!signal?.aborted) throw interruption;
      throw aborted ? aborted(signal.reason) : signal.reason;
    }
  }
}

function throwLast(error: unknown, { isLast }: Failure): number {
  if (isLast) throw error;
  return 0;
}

/**
 * Does the work until it succeeds.
 *
 * @param work receives the tries, so that it can report progress with `reset`
 * @throws what `onFailure` throws; the error for an aborted signal
 */
export async function retry<T>(work: (tries: Tries) => Promise<T>, options: RetryOptions): Promise<T> {
  const tries = new Tries(options);
  for (;;) {
    try {
      return await work(tries);
    } catch (error) {
      await tries.next(error);
    }
  }
}
