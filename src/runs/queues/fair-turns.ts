import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../../schemas/names.ts";

/** BullMQ's highest priority number, which is its lowest priority. */
const LAST_TURN = 2_097_151;
/** A queue from which no slice is taken for this long is empty: its turns start again at 1. */
const EXPIRY_SECONDS = 3600;

/**
 * The turns of runs that share a queue: start-time fair queueing (Goyal, Vin and Cheng, 1996) with a slice as the unit. Each slice gets a
 * number: one more than the number of the run's previous slice, and at least the number of the slice that was taken last. Workers take
 * the lowest number first. So a new run gets its turn immediately, however long the queue is, and no run waits forever. After two million
 * slices of a run without a pause the numbers reach their maximum, and slices run in the order of arrival.
 */
export class Turns {
  readonly #redis: Redis;
  readonly #key: string;

  constructor(redis: Redis, queue: string) {
    this.#redis = redis;
    this.#key = `${KEY_PREFIX}:turn:${queue}`;
  }

  /** The number of a run's next slice. `last` is the number of its previous slice. At least 1, the lowest priority number of BullMQ. */
  async next(last: number): Promise<number> {
    const taken = await this.#redis.zscore(this.#key, "taken");
    return Math.min(LAST_TURN, Math.max(1, last + 1, Number(taken ?? 0)));
  }

  /** Records that a worker took the slice with this number. */
  async taken(turn: number): Promise<void> {
    await this.#redis.multi().zadd(this.#key, "GT", turn, "taken").expire(this.#key, EXPIRY_SECONDS).exec();
  }
}
