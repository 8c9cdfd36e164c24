import { BroadcastChannel } from "node:worker_threads";

/** What every batch takes on a thread of slow-thread.ts. */
export const BATCH_MS = 100;
/** Channels end at the process. */
export const RUNS_CHANNEL = "slow-runs";

/** A batch on the slow thread, in ms by the thread's own clock. */
export type SlowRun = { begin: number; end: number; rows: number };

/** Listens to one slow thread of this process. */
export class SlowRuns implements Disposable {
  static readonly THREAD = new URL("../threads/slow-thread.ts", import.meta.url);
  /** In their order. */
  readonly runs: SlowRun[] = [];
  readonly #channel = new BroadcastChannel(RUNS_CHANNEL);
  #heard = Promise.withResolvers<void>();

  constructor() {
    this.#channel.onmessage = (message) => {
      this.runs.push((message as { data: SlowRun }).data);
      this.#heard.resolve();
    };
  }

  /** Settles when so many items went through the model. */
  async until(items: number): Promise<void> {
    while (this.runs.reduce((sum, { rows }) => sum + rows, 0) < items) {
      await this.#heard.promise;
      this.#heard = Promise.withResolvers<void>();
    }
  }

  [Symbol.dispose](): void {
    this.#channel.close();
  }
}

/** Of the time from the first batch's begin to the last one's end, the part in which none ran. */
export function idleShare(runs: readonly SlowRun[]): number {
  const idle = runs.slice(1).reduce((sum, { begin }, at) => sum + begin - runs[at]!.end, 0);
  return idle / (runs.at(-1)!.end - runs[0]!.begin);
}
