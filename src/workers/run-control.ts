import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError } from "../errors.ts";
import type { Channels } from "../runs/channels.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import type { Job } from "../schemas/job.ts";
import { STOPPED_CHANNEL } from "../schemas/names.ts";
import type { RunState } from "../schemas/run.ts";

/**
 * A slice's ear for the end of its run, and what the run says of it now: whether the run is paused, and whether the slice is in its
 * plan (`open`: the run is being planned, and may come to it). A single is all of its run and in no plan: it counts as planned.
 */
export type WatchedSlice = {
  readonly signal: AbortSignal;
  paused: boolean;
  plan: "planned" | "open" | "unplanned";
  [Symbol.dispose](): void;
};

/** After a look that failed. */
const LOOK_AGAIN_MS = 1_000;

/** Slices under way, by their run: one that was cancelled or failed has no use for them, one that is paused none for more. */
export class RunControl {
  readonly #ledger: RunLedger;
  readonly #slices = new Map<string, Set<AbortController>>();

  private constructor(ledger: RunLedger) {
    this.#ledger = ledger;
  }

  static async open(channels: Channels, ledger: RunLedger): Promise<RunControl> {
    const control = new RunControl(ledger);
    await channels.listen(STOPPED_CHANNEL, (run) => control.#stop(run));
    channels.onMissed(() => void control.#lookAgain());
    return control;
  }

  /** A signal that aborts when the run is stopped, aborted already where it was. */
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
      // After it listens: what happens between the look and the message would else go by.
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

  /** Whether the run is paused still. */
  async isPaused(run: string): Promise<boolean> {
    return (await this.#ledger.state(run)) === "paused";
  }

  #stop(run: string): void {
    for (const slice of this.#slices.get(run) ?? [])
      slice.abort(new LabelmillError("ABORTED", `the run ${run} was stopped`));
  }

  /** The end of a run may have been told while nobody listened. A slice that waits for a store would not hear of it. */
  async #lookAgain(): Promise<void> {
    try {
      for (const run of this.#slices.keys()) if (isStopped(await this.#ledger.state(run))) this.#stop(run);
    } catch {
      await delay(LOOK_AGAIN_MS, undefined, { ref: false });
      if (this.#slices.size > 0) await this.#lookAgain();
    }
  }
}

function isStopped(state: RunState | undefined): boolean {
  return state === "cancelled" || state === "failed";
}
