import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../schemas/names.ts";
import type { Replays } from "./sns.ts";

/**
 * The received messages, in Redis. If Redis lost them, a replayed message is accepted again, but its objects are not labeled
 * again: the ids of their runs are derived.
 */
export class RedisReplays implements Replays {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async has(id: string): Promise<boolean> {
    return (await this.#redis.exists(keyOf(id))) === 1;
  }

  async add(id: string, forMs: number): Promise<void> {
    await this.#redis.set(keyOf(id), "", "PX", forMs);
  }
}

/** A sender chooses the id, so it is hashed. */
function keyOf(id: string): string {
  return `${KEY_PREFIX}:received:${createHash("sha256").update(id).digest("hex").slice(0, 32)}`;
}
