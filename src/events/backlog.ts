import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { Backlog as ModelBacklog } from "../producers/client/backlog.ts";
import type { ModelPin } from "../schemas/run.ts";

/** How often a full backlog is looked at again. */
const RECHECK_MS = 1_000;

/** How long the items of events wait. */
export class Backlog {
  readonly #backlog: ModelBacklog;
  readonly #models: readonly ModelPin[];

  /** @param models those of the rules */
  constructor(redis: Redis, models: readonly ModelPin[]) {
    this.#backlog = new ModelBacklog(redis);
    this.#models = [...new Map(models.map((model) => [model.digest, model])).values()];
  }

  /** The longest wait of a new item, in seconds. */
  async seconds(): Promise<number> {
    return Math.max(0, ...(await Promise.all(this.#models.map((model) => this.#backlog.seconds(model)))));
  }

  /** Resolves when new items wait at most this long. */
  async room(maxSeconds: number, signal: AbortSignal): Promise<void> {
    while ((await this.seconds()) > maxSeconds) await delay(RECHECK_MS, undefined, { signal });
  }
}
