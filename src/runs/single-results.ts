import type { Redis } from "ioredis";
import type { z } from "zod";
import { readPart } from "../rows/part.ts";
import { EventSchema, type LabelEvent } from "../schemas/event.ts";
import type { Job } from "../schemas/job.ts";
import { ENDS_CHANNEL, jobId, KEY_PREFIX, runChannel, SCHEMA_VERSION } from "../schemas/names.ts";

/** Long enough for a caller to reconnect, short enough that thousands of singles a second do not fill Redis. Then the part answers. */
const KEPT_SECONDS = 15 * 60;
/** A failure has no part: Redis alone remembers it. */
const FAILURE_KEPT_SECONDS = 24 * 3600;

/** The end of a single, without its rows. The rows are in its part, and in the event that the caller receives. */
const SingleEndSchema = EventSchema.omit({ items: true });
export type SingleEnd = z.infer<typeof SingleEndSchema>;

/** The ends of singles (runs of one job). Redis stores nothing else about them. */
export class SingleEnds {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Stores the end, and publishes it to the waiting caller and to the servers. Idempotent. */
  async set(event: LabelEvent): Promise<void> {
    const { items: _items, ...end } = event;
    await this.#redis
      .multi()
      .set(endKey(event.run), JSON.stringify(end), "EX", event.failed ? FAILURE_KEPT_SECONDS : KEPT_SECONDS)
      .publish(runChannel(event.run), JSON.stringify(event))
      .publish(ENDS_CHANNEL, event.run)
      .exec();
  }

  /** @returns undefined if the single has not ended, succeeded more than 15 minutes ago, or failed more than 24 hours ago */
  async get(run: string): Promise<SingleEnd | undefined> {
    const found = await this.#redis.get(endKey(run));
    return found === null ? undefined : SingleEndSchema.parse(JSON.parse(found));
  }
}

/** The end of a single by its part. @throws LabelmillError PART_MISMATCH */
export function partEnd(
  { run, output, key, model: { id, digest } }: Pick<Job, "run" | "output" | "key" | "model">,
  bytes: Uint8Array,
): SingleEnd {
  const { receipt, labels } = readPart(bytes);
  const { rows, errors } = receipt;
  const address = { run, slice: 0, output, part: key, model: { id, digest } };
  return { v: SCHEMA_VERSION, id: jobId(run, 0), ...address, rows, errors, labels };
}

/** The key in Redis of the end of a single. */
export function endKey(run: string): string {
  return `${KEY_PREFIX}:single:${run}`;
}
