import type { Redis } from "ioredis";
import type { z } from "zod";
import { EventSchema, type LabelEvent } from "../schemas/event.ts";
import { KEY_PREFIX, runChannel } from "../schemas/names.ts";

/** Long enough for a caller that lost its connection to come back, short enough that thousands a second do not fill Redis. */
const KEPT_SECONDS = 15 * 60;

/** How a single ended, without its rows: these are in its part, and in the event that its caller hears. */
const SingleEndSchema = EventSchema.omit({ items: true });
export type SingleEnd = z.infer<typeof SingleEndSchema>;

/** The ends of singles: runs of one job each, of which Redis holds nothing else. */
export class SingleEnds {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Notes the end and tells whoever waits for it. A second try says the same again. */
  async set(event: LabelEvent): Promise<void> {
    const { items: _items, ...end } = event;
    await this.#redis
      .multi()
      .set(endKey(event.run), JSON.stringify(end), "EX", KEPT_SECONDS)
      .publish(runChannel(event.run), JSON.stringify(event))
      .exec();
  }

  /** @returns undefined where it has not ended, or long ago */
  async get(run: string): Promise<SingleEnd | undefined> {
    const found = await this.#redis.get(endKey(run));
    return found === null ? undefined : SingleEndSchema.parse(JSON.parse(found));
  }
}

function endKey(run: string): string {
  return `${KEY_PREFIX}:single:${run}`;
}
