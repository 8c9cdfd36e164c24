import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { LabelmillError } from "../errors.ts";
import { openQueue } from "../runs/queues/queue.ts";
import { DROPPED_EVENTS_KEY } from "../runs/queues/results-queue.ts";
import { trimWaiting } from "../runs/queues/trim-queue.ts";
import { type LabelEvent, MAX_EVENT_ROWS } from "../schemas/event.ts";
import type { Job } from "../schemas/job.ts";
import { FEED_CHANNEL, jobId, RESULTS_QUEUE, SCHEMA_VERSION } from "../schemas/names.ts";
import type { StoredPart } from "./slice/process-slice.ts";

/** Longer error messages are cut, in UTF-16 code units. */
const MAX_REASON_LENGTH = 1000;

/**
 * The results queue as a bounded outbox. Events wait there for a consumer. If too many wait, the oldest are dropped and
 * counted: the store has the rows, and an event only says where they are.
 */
export class ResultEvents {
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #maxWaiting: number;
  /**
   * Number of events between two checks of the bound: a check is a round trip. The bound may be exceeded by this
   * number.
   */
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

/** The event of a committed slice. It has the rows only if the job asks for them and they are few. */
export function committedEvent(job: Job, { receipt, labels, rows }: StoredPart): LabelEvent {
  const withRows = (job.events === "rows" || job.single) && rows.length <= MAX_EVENT_ROWS;
  return {
    ...addressOf(job),
    rows: receipt.rows,
    errors: receipt.errors,
    labels,
    ...(withRows ? { items: [...rows] } : {}),
  };
}

/** The event of a slice that failed permanently. */
export function failedEvent(job: EventJob, { code, message }: LabelmillError): LabelEvent {
  const failed = { code, message: message.slice(0, MAX_REASON_LENGTH) };
  return { ...addressOf(job), rows: 0, errors: 0, labels: {}, failed };
}

/** The fields of a job that an event contains. */
type EventJob = Pick<Job, "run" | "slice" | "output" | "key"> & { model: { id: string; digest: string } };

function addressOf(job: EventJob) {
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
