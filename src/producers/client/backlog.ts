import type { Redis } from "ioredis";
import { serving, WorkerRegistry } from "../../fleet/registry.ts";
import { queuedItems } from "../../runs/queues/backlog.ts";
import { queueName } from "../../schemas/names.ts";

/** How long an answer is reused. */
const REUSED_MS = 1_000;
/** Items per second of a model that no worker has measured: so low that a large backlog counts, so high that a small one does not. */
const UNKNOWN_RATE = 10;

/** How long new interactive items of a model wait, from Redis alone. Cheap enough to ask for each request. */
export class Backlog {
  readonly #redis: Redis;
  readonly #registry: WorkerRegistry;
  readonly #last = new Map<string, { at: number; seconds: Promise<number> }>();

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#registry = new WorkerRegistry(redis);
  }

  /**
   * The interactive items of a model that wait or are being labeled, divided by the rate of its workers, else by the last measured rate of
   * one. Bulk items do not count: interactive ones go before them.
   */
  async seconds(model: { id: string; digest: string }): Promise<number> {
    const { digest } = model;
    const last = this.#last.get(digest);
    if (last && performance.now() - last.at < REUSED_MS) return last.seconds;
    const seconds = this.#seconds(model);
    this.#last.set(digest, { at: performance.now(), seconds });
    // A failure is not reused.
    seconds.catch(() => this.#last.delete(digest));
    return seconds;
  }

  async #seconds(model: { id: string; digest: string }): Promise<number> {
    const items = await queuedItems(this.#redis, queueName(model, "interactive"));
    return items === 0 ? 0 : items / (await this.#rate(model.digest));
  }

  async #rate(digest: string): Promise<number> {
    const served = serving(await this.#registry.workers(), digest).flatMap(({ models }) => models);
    const measured = served.filter((model) => model.digest === digest && model.itemsPerSecond);
    const rate = measured.reduce((sum, { itemsPerSecond }) => sum + itemsPerSecond!, 0);
    return rate || (await this.#registry.lastOf(digest))?.itemsPerSecond || UNKNOWN_RATE;
  }
}
