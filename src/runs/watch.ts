import { setTimeout as delay } from "node:timers/promises";
import { runChannel } from "../schemas/names.ts";
import type { Channels } from "./channels.ts";

/** A run may change thousands of times a second: between two looks lies at least this. */
const REST_MS = 20;

/**
 * Hears that something of a run changed: on its channel, and, since a message may be lost, every so often anyway. Redis
 * is asked again each time: a message says nothing but "look".
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

  /** Wakes whoever waits, for a reason of this process's own. */
  notify(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers<void>();
    resolve();
  }

  /** Settles when `check` says true; it is asked at once, at every change, and every `pollMs`. */
  async until(check: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      // Taken before the look: a change during it must not be missed.
      const changed = this.#wake.promise;
      if (await check()) return;
      await Promise.all([this.#changeOrPoll(changed, signal), delay(REST_MS)]);
    }
  }

  async #changeOrPoll(changed: Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#pollMs);
    const aborted = () => resolve();
    signal.addEventListener("abort", aborted);
    // It may have been aborted during the look, and then tells nobody any more.
    if (signal.aborted) resolve();
    void changed.then(resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      // A run changes thousands of times, and its signal lives as long as it does.
      signal.removeEventListener("abort", aborted);
    }
  }
}
