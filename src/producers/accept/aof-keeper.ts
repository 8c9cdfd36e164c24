import type { AofConfirmation } from "../../redis/aof.ts";
import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import type { Keeper, Replayed } from "./keeper.ts";

/** Keeps accepted submissions by the append-only file of Redis alone: a Redis that loses the file loses them. */
export class AofKeeper implements Keeper {
  readonly #confirmation: AofConfirmation;

  constructor(confirmation: AofConfirmation) {
    this.#confirmation = confirmation;
  }

  async keep(_record: Accepted, enqueue: () => Promise<void>): Promise<void> {
    await enqueue();
    await this.#confirmation.confirm();
  }

  async keepQueued(): Promise<void> {
    await this.#confirmation.confirm();
  }

  /** Redis keeps deliveries as it keeps jobs. */
  async settleDelivery(): Promise<void> {}

  async replay(): Promise<Replayed> {
    return { queued: 0, settled: 0 };
  }

  async close(): Promise<void> {
    this.#confirmation.close();
  }
}
