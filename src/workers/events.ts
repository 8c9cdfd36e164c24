import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { openQueue } from "../runs/queue.ts";
import { type LabelEvent, MAX_EVENT_ROWS } from "../schemas/event.ts";
import type { Job } from "../schemas/job.ts";
import { jobId, KEY_PREFIX, RESULTS_QUEUE, SCHEMA_VERSION } from "../schemas/names.ts";
import type { StandingPart } from "./process.ts";

/** Where the number of events that were dropped unread is counted. */
export const DROPPED_EVENTS_KEY = `${KEY_PREFIX}:results:dropped`;

/**
 * The results queue as a bounded outbox: an event waits there for a consumer, and where too many wait the oldest are dropped and
 * counted. The store is the record; an event only says where to look.
 */
export class ResultEvents {
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #maxWaiting: number;
  /** Counting costs a round trip: it is done once in so many events, and the bound is kept that much lower. */
  readonly #checkEvery: number;
  #sinceCheck = 0;

  constructor(redis: Redis, maxWaiting: number) {
    this.#redis = redis;
    this.#queue = openQueue(redis, RESULTS_QUEUE);
    this.#maxWaiting = maxWaiting;
    this.#checkEvery = Math.max(1, Math.min(100, Math.floor(maxWaiting / 10)));
  }

  async publish(job: Job, part: StandingPart): Promise<void> {
    if (job.events === "none") return;
    const event: LabelEvent = {
      v: SCHEMA_VERSION,
      id: jobId(job.run, job.slice),
      run: job.run,
      slice: job.slice,
      output: job.output,
      part: job.key,
      model: { id: job.model.id, digest: job.model.digest },
      rows: part.receipt.rows,
      errors: part.receipt.errors,
      labels: part.labels,
      ...(job.events === "rows" && part.rows.length <= MAX_EVENT_ROWS ? { items: [...part.rows] } : {}),
    };
    await this.#queue.add("labeled", event, { jobId: event.id, removeOnComplete: true, removeOnFail: true });
    this.#sinceCheck += 1;
    if (this.#sinceCheck >= this.#checkEvery) await this.#dropSurplus();
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }

  async #dropSurplus(): Promise<void> {
    this.#sinceCheck = 0;
    const surplus = (await this.#queue.getWaitingCount()) - this.#maxWaiting;
    if (surplus <= 0) return;
    const dropped = await this.#queue.clean(0, surplus, "wait");
    await this.#redis.incrby(DROPPED_EVENTS_KEY, dropped.length);
  }
}
