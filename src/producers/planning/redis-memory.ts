import type { Redis } from "ioredis";

/** How long an answer is reused: many slices are queued in this time. */
const REUSED_MS = 1_000;

/** Checks how much of its memory Redis uses. */
export class RedisMemory {
  readonly #redis: Redis;
  readonly #share: number;
  #last = { at: Number.NEGATIVE_INFINITY, isAbove: false };

  /** @param share of `maxmemory`, from 0 to 1. A Redis without `maxmemory` is never above it */
  constructor(redis: Redis, share: number) {
    this.#redis = redis;
    this.#share = share;
  }

  async isAboveShare(): Promise<boolean> {
    if (performance.now() - this.#last.at < REUSED_MS) return this.#last.isAbove;
    const info = await this.#redis.info("memory");
    const number = (key: string) => Number(new RegExp(`^${key}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
    const max = number("maxmemory");
    this.#last = { at: performance.now(), isAbove: max > 0 && number("used_memory") > max * this.#share };
    return this.#last.isAbove;
  }
}
