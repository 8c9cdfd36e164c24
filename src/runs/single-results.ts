import type { Redis } from "ioredis";
import type { z } from "zod";
import { EventSchema, type LabelEvent } from "../schemas/event.ts";
import { KEY_PREFIX, runChannel } from "../schemas/names.ts";

/** Long enough for a caller to reconnect, short enough that thousands of singles a second do not fill Redis. */
const KEPT_SECONDS = 15 * 60;

/** The end of a single, without its rows. The rows are in its part, and in the event that the caller receives. */
const SingleEndSchema = EventSchema.omit({ items: true });
export type SingleEnd = z.infer<typeof SingleEndSchema>;

/** The ends of singles (runs of one job). Redis stores nothing else about them. */
export class SingleEnds {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Stores the end and publishes it to the waiting caller. Idempotent. */
  async set(event: LabelEvent): Promise<void> {
    const { items: _items, ...end } = event;
    await this.#redis
      .multi()
      .set(endKey(event.run), JSON.stringify(end), "EX", KEPT_SECONDS)
      .publish(runChannel(event.run), JSON.stringify(event))
      .exec();
  }

  /** @returns undefined if the single has not ended, or ended more than 15 minutes ago */
  async get(run: string): Promise<SingleEnd | undefined> {
    const found = await this.#redis.get(endKey(run));
    return found === null ? undefined : SingleEndSchema.parse(JSON.parse(found));
  }
}

function endKey(run: string): string {
  return `${KEY_PREFIX}:single:${run}`;
}
