import { LabelmillError } from "../errors.ts";
import type { Channels } from "../runs/channels.ts";
import type { RunLedger } from "../runs/ledger.ts";
import type { Job } from "../schemas/job.ts";
import { CANCELLED_CHANNEL } from "../schemas/names.ts";

/** A slice's ear for the end of its run. */
export type Watched = { readonly signal: AbortSignal; [Symbol.dispose](): void };

/** Slices under way, by their run: a run that is cancelled has no use for them. */
export class Cancellations {
  readonly #ledger: RunLedger;
  readonly #slices = new Map<string, Set<AbortController>>();

  private constructor(ledger: RunLedger) {
    this.#ledger = ledger;
  }

  static async open(channels: Channels, ledger: RunLedger): Promise<Cancellations> {
    const cancellations = new Cancellations(ledger);
    await channels.listen(CANCELLED_CHANNEL, (run) => cancellations.#cancel(run));
    return cancellations;
  }

  /** A signal that aborts when the run is cancelled, aborted already where it was. */
  async watch({ run, single }: Job): Promise<Watched> {
    const controller = new AbortController();
    const slices = this.#slices.get(run) ?? new Set();
    this.#slices.set(run, slices.add(controller));
    const watched = {
      signal: controller.signal,
      [Symbol.dispose]: () => {
        slices.delete(controller);
        if (slices.size === 0) this.#slices.delete(run);
      },
    };
    try {
      // After it listens: what happens between the look and the message would else go by.
      if (!single && (await this.#ledger.isCancelled(run))) this.#cancel(run);
    } catch (error) {
      watched[Symbol.dispose]();
      throw error;
    }
    return watched;
  }

  #cancel(run: string): void {
    for (const slice of this.#slices.get(run) ?? [])
      slice.abort(new LabelmillError("ABORTED", `the run ${run} was cancelled`));
  }
}
