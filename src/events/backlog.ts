import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { BEAT_MS, serving, WorkerRegistry } from "../fleet/registry.ts";
import { openQueue } from "../runs/queues/queue.ts";
import { queueName } from "../schemas/names.ts";
import type { ModelPin } from "../schemas/run.ts";

/** Items per second of a model that no worker has measured yet. */
const UNKNOWN_RATE = 10;
/** How often a full backlog is looked at again. */
const RECHECK_MS = 1_000;

/** How long the interactive items of models wait, from their number and the rate of the workers. */
export class Backlog {
  readonly #redis: Redis;
  readonly #models: readonly ModelPin[];
  #rates = new Map<string, number>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(redis: Redis, models: readonly ModelPin[]) {
    this.#redis = redis;
    this.#models = [...new Map(models.map((model) => [model.digest, model])).values()];
  }

  /** The longest wait of a new item, in seconds. Each waiting job counts as one item, as those of events are. */
  async seconds(): Promise<number> {
    await this.#readRates();
    const waits = await Promise.all(
      this.#models.map(async (model) => {
        const queue = openQueue(this.#redis, queueName(model, "interactive"));
        try {
          const { waiting = 0, prioritized = 0 } = await queue.getJobCounts("waiting", "prioritized");
          return (waiting + prioritized) / (this.#rates.get(model.digest) ?? UNKNOWN_RATE);
        } finally {
          await queue.close();
        }
      }),
    );
    return Math.max(0, ...waits);
  }

  /** Resolves when new items wait at most this long. */
  async room(maxSeconds: number, signal: AbortSignal): Promise<void> {
    while ((await this.seconds()) > maxSeconds) await delay(RECHECK_MS, undefined, { signal });
  }

  async #readRates(): Promise<void> {
    if (performance.now() - this.#readAt < BEAT_MS) return;
    const workers = await new WorkerRegistry(this.#redis).workers();
    const rates = this.#models.flatMap(({ digest }) => {
      const served = serving(workers, digest).flatMap(({ models }) =>
        models.filter((model) => model.digest === digest),
      );
      const rate = served.reduce((sum, { itemsPerSecond }) => sum + (itemsPerSecond ?? 0), 0);
      return rate > 0 ? [[digest, rate] as const] : [];
    });
    this.#rates = new Map(rates);
    this.#readAt = performance.now();
  }
}
