import type { Redis } from "ioredis";

/** How long an answer holds: many slices are queued in that time. */
const HELD_MS = 1_000;

/** Whether Redis has more of its memory in use than queued slices may bring it to. */
export class RedisShare {
  readonly #redis: Redis;
  readonly #share: number;
  #held = { at: Number.NEGATIVE_INFINITY, isOver: false };

  /** @param share of `maxmemory`, from 0 to 1; a Redis without one is never over it */
  constructor(redis: Redis, share: number) {
    this.#redis = redis;
    this.#share = share;
  }

  async isOver(): Promise<boolean> {
    if (performance.now() - this.#held.at < HELD_MS) return this.#held.isOver;
    const info = await this.#redis.info("memory");
    const number = (key: string) => Number(new RegExp(`^${key}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
    const most = number("maxmemory");
    this.#held = { at: performance.now(), isOver: most > 0 && number("used_memory") > most * this.#share };
    return this.#held.isOver;
  }
}
