import { BroadcastChannel } from "node:worker_threads";

/** The time of every batch on a thread of slow-thread.ts. */
export const BATCH_MS = 100;
/** Broadcast channels stay within the process, so a fixed name is enough. */
export const RUNS_CHANNEL = "slow-runs";

/** A batch on the slow thread. Times are in ms of the thread's clock. */
export type SlowRun = { begin: number; end: number; rows: number };

/** Listens to one slow thread of this process. */
export class SlowRuns implements Disposable {
  static readonly THREAD = new URL("../threads/slow-thread.ts", import.meta.url);
  /** The batches, in order. */
  readonly runs: SlowRun[] = [];
  readonly #channel = new BroadcastChannel(RUNS_CHANNEL);
  #received = Promise.withResolvers<void>();

  constructor() {
    this.#channel.onmessage = (message) => {
      this.runs.push((message as { data: SlowRun }).data);
      this.#received.resolve();
    };
  }

  /** Waits until the model has labeled this many items. */
  async until(items: number): Promise<void> {
    while (this.runs.reduce((sum, { rows }) => sum + rows, 0) < items) {
      await this.#received.promise;
      this.#received = Promise.withResolvers<void>();
    }
  }

  [Symbol.dispose](): void {
    this.#channel.close();
  }
}

/** The share of the time, from the start of the first batch to the end of the last, in which no batch ran. */
export function idleShare(runs: readonly SlowRun[]): number {
  const idle = runs.slice(1).reduce((sum, { begin }, at) => sum + begin - runs[at]!.end, 0);
  return idle / (runs.at(-1)!.end - runs[0]!.begin);
}
