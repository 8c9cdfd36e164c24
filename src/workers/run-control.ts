import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError } from "../errors.ts";
import type { Channels } from "../runs/channels.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import type { Job } from "../schemas/job.ts";
import { STOPPED_CHANNEL } from "../schemas/names.ts";
import type { RunState } from "../schemas/run.ts";

/**
 * The state of a slice's run. `plan`: whether the slice is in the run's plan; `open`: the run is still being planned
 * and may reach it. A single has no plan and counts as planned. Dispose of it when the slice ends.
 */
export type WatchedSlice = {
  /** Aborts when the run is cancelled or fails. */
  readonly signal: AbortSignal;
  paused: boolean;
  plan: "planned" | "open" | "unplanned";
  [Symbol.dispose](): void;
};

/** Wait before the states of runs are read again after a failure, in ms. */
const STATE_RETRY_MS = 1_000;

/** Stops running slices whose run was cancelled or has failed. */
export class RunControl {
  readonly #ledger: RunLedger;
  readonly #slices = new Map<string, Set<AbortController>>();

  private constructor(ledger: RunLedger) {
    this.#ledger = ledger;
  }

  static async open(channels: Channels, ledger: RunLedger): Promise<RunControl> {
    const control = new RunControl(ledger);
    await channels.listen(STOPPED_CHANNEL, (run) => control.#stop(run));
    channels.onMissed(() => void control.#readStates());
    return control;
  }

  /** Watches the run of a slice. If the run was stopped already, the signal is aborted at once. */
  async watch({ run, slice, single }: Job): Promise<WatchedSlice> {
    const controller = new AbortController();
    const slices = this.#slices.get(run) ?? new Set();
    this.#slices.set(run, slices.add(controller));
    const watched: WatchedSlice = {
      signal: controller.signal,
      paused: false,
      plan: "planned",
      [Symbol.dispose]: () => {
        slices.delete(controller);
        if (slices.size === 0) this.#slices.delete(run);
      },
    };
    try {
      // Read after the slice listens: a stop between the two would be missed otherwise.
      if (!single) {
        const { state, plan } = await this.#ledger.sliceStatus(run, slice);
        if (isStopped(state)) this.#stop(run);
        watched.paused = state === "paused";
        watched.plan = plan;
      }
    } catch (error) {
      watched[Symbol.dispose]();
      throw error;
    }
    return watched;
  }

  /** Whether the run is paused now. */
  async isPaused(run: string): Promise<boolean> {
    return (await this.#ledger.state(run)) === "paused";
  }

  #stop(run: string): void {
    for (const slice of this.#slices.get(run) ?? [])
      slice.abort(new LabelmillError("ABORTED", `the run ${run} was stopped`));
  }

  /** The connection was lost: a stop may have been missed. A slice that waits for a store would wait on. */
  async #readStates(): Promise<void> {
    try {
      for (const run of this.#slices.keys()) if (isStopped(await this.#ledger.state(run))) this.#stop(run);
    } catch {
      await delay(STATE_RETRY_MS, undefined, { ref: false });
      if (this.#slices.size > 0) await this.#readStates();
    }
  }
}

function isStopped(state: RunState | undefined): boolean {
  return state === "cancelled" || state === "failed";
}
