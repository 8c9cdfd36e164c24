import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { LabelmillError } from "../errors.ts";
import { DROPPED_EVENTS_KEY } from "../runs/queues/outbox.ts";
import { openQueue } from "../runs/queues/queue.ts";
import { trimWaiting } from "../runs/queues/trim.ts";
import { type LabelEvent, MAX_EVENT_ROWS } from "../schemas/event.ts";
import type { Job } from "../schemas/job.ts";
import { FEED_CHANNEL, jobId, RESULTS_QUEUE, SCHEMA_VERSION } from "../schemas/names.ts";
import type { StoredPart } from "./slice/process-slice.ts";

/**
 * The results queue as a bounded outbox: an event waits there for a consumer, and where too many wait the oldest are dropped and
 * counted. The store is the record; an event only says where to look.
 */
export class ResultEvents {
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #maxWaiting: number;
  /** Counting costs a round trip: it is done once in so many events. Up to so many more than the bound may wait. */
  readonly #checkEvery: number;
  #sinceCheck = 0;

  constructor(redis: Redis, maxWaiting: number) {
    this.#redis = redis;
    this.#queue = openQueue(redis, RESULTS_QUEUE);
    this.#maxWaiting = maxWaiting;
    this.#checkEvery = Math.max(1, Math.min(100, Math.floor(maxWaiting / 10)));
  }

  async publish(event: LabelEvent): Promise<void> {
    await this.#queue.add("labeled", event, { jobId: event.id, removeOnComplete: true, removeOnFail: true });
    await this.#redis.publish(FEED_CHANNEL, JSON.stringify(event));
    this.#sinceCheck += 1;
    if (this.#sinceCheck >= this.#checkEvery) await this.#dropSurplus();
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }

  async #dropSurplus(): Promise<void> {
    this.#sinceCheck = 0;
    const dropped = await trimWaiting(this.#redis, this.#queue, this.#maxWaiting);
    if (dropped > 0) await this.#redis.incrby(DROPPED_EVENTS_KEY, dropped);
  }
}

/** What is told of a committed slice; its rows only where they are few and somebody wants them. */
export function committedEvent(job: Job, { receipt, labels, rows }: StoredPart): LabelEvent {
  const wanted = (job.events === "rows" || job.single) && rows.length <= MAX_EVENT_ROWS;
  return {
    ...aboutJob(job),
    rows: receipt.rows,
    errors: receipt.errors,
    labels,
    ...(wanted ? { items: [...rows] } : {}),
  };
}

/** What is told of a slice that failed for good. */
export function failedEvent(job: EventSubject, { code, message }: LabelmillError): LabelEvent {
  return { ...aboutJob(job), rows: 0, errors: 0, labels: {}, failed: { code, message: message.slice(0, 1000) } };
}

/** What an event says of its job. */
type EventSubject = Pick<Job, "run" | "slice" | "output" | "key"> & { model: { id: string; digest: string } };

function aboutJob(job: EventSubject) {
  return {
    v: SCHEMA_VERSION,
    id: jobId(job.run, job.slice),
    run: job.run,
    slice: job.slice,
    output: job.output,
    part: job.key,
    model: { id: job.model.id, digest: job.model.digest },
  } as const;
}
