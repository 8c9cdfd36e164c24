import { setTimeout as delay } from "node:timers/promises";
import { runChannel } from "../schemas/names.ts";
import type { Channels } from "./channels.ts";

/** Minimum time between two checks: a run may change thousands of times a second. */
const MIN_INTERVAL_MS = 20;

/**
 * Waits for changes of a run: a message on its channel, or the end of the polling interval, because a message may be lost. A message has no
 * content, so each change means that the state must be read from Redis.
 */
export class RunChanges {
  readonly #pollMs: number;
  #wake = Promise.withResolvers<void>();
  #stop = (): void => {};

  private constructor(pollMs: number) {
    this.#pollMs = pollMs;
  }

  static async open(channels: Channels, run: string, pollMs = 5_000): Promise<RunChanges> {
    const changes = new RunChanges(pollMs);
    changes.#stop = await channels.listen(runChannel(run), () => changes.notify());
    return changes;
  }

  close(): void {
    this.#stop();
  }

  /** Wakes the waiting callers after a change in this process. */
  notify(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers<void>();
    resolve();
  }

  /** Waits until `check` resolves to true. Calls it immediately, after each change, and every `pollMs`. Rejects if `signal` aborts. */
  async until(check: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      // Read before the check, so that a change during the check is not missed.
      const changed = this.#wake.promise;
      if (await check()) return;
      await Promise.all([this.#changeOrPoll(changed, signal), delay(MIN_INTERVAL_MS)]);
    }
  }

  async #changeOrPoll(changed: Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#pollMs);
    const aborted = () => resolve();
    signal.addEventListener("abort", aborted);
    // A signal that was aborted during the check sends no event.
    if (signal.aborted) resolve();
    void changed.then(resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      // The signal lives as long as the run, which changes thousands of times.
      signal.removeEventListener("abort", aborted);
    }
  }
}
