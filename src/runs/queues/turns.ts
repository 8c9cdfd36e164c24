import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../../schemas/names.ts";

/** BullMQ's highest priority number, which is its lowest priority. */
const LAST_TURN = 2_097_151;
/** A queue from which nothing was taken for so long is empty: its turns begin anew. */
const FORGOTTEN_AFTER_SECONDS = 3600;

/**
 * Whose turn it is on a queue that several runs share: start-time fair queueing (Goyal, Vin and Cheng, 1996), a slice being the
 * unit. Each slice is queued with a number, one more than that of the run's slice before it, but never less than that of the
 * slice taken last; the lowest number is taken first. So runs take turns from the moment they come, whatever lies there, and none
 * can be overtaken for ever. Beyond two million slices of a run without a pause the numbers end, and slices go in the order they came.
 */
export class Turns {
  readonly #redis: Redis;
  readonly #key: string;

  constructor(redis: Redis, queue: string) {
    this.#redis = redis;
    this.#key = `${KEY_PREFIX}:turn:${queue}`;
  }

  /** The number for a run's next slice, where `last` is that of its slice before. At least 1: BullMQ knows no lower priority. */
  async next(last: number): Promise<number> {
    const taken = await this.#redis.zscore(this.#key, "taken");
    return Math.min(LAST_TURN, Math.max(1, last + 1, Number(taken ?? 0)));
  }

  /** A slice of this number was taken. */
  async taken(turn: number): Promise<void> {
    await this.#redis.multi().zadd(this.#key, "GT", turn, "taken").expire(this.#key, FORGOTTEN_AFTER_SECONDS).exec();
  }
}
