import { createHash } from "node:crypto";
import { type Queue, type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { Redis } from "ioredis";
import type { z } from "zod";
import type { Logger } from "../../logger.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { trimWaiting } from "../../runs/queues/trim.ts";
import { DEAD_LETTER_QUEUE } from "../../schemas/names.ts";
import { RawPayload } from "./queue-worker.ts";

/** The most of a payload that is kept, in UTF-16 units: it may be of any size. */
const KEPT_LENGTH = 100_000;
const KEPT_ITEMS = 1000;
/** The most dead letters that are kept; beyond it the oldest go. */
export const MOST_DEAD_LETTERS = 1000;
/** The longest that a dead letter is kept. */
const KEPT_MS = 30 * 24 * 3600 * 1000;

/** Jobs that no worker can do: kept with the reason for a person to see, never tried again. */
export class DeadLetters {
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #log: Logger;

  constructor(redis: Redis, log: Logger) {
    this.#redis = redis;
    this.#queue = openQueue(redis, DEAD_LETTER_QUEUE);
    this.#log = log;
  }

  /**
   * Keeps the job's payload here, and nowhere else: the job itself leaves its queue when it fails.
   * @returns what the processor throws then, so that BullMQ does not try the job again
   */
  async bury(job: QueuedJob, reason: string): Promise<UnrecoverableError> {
    this.#log.error({ job: job.id, reason }, "job is invalid: moved to the dead-letter queue");
    const payload = job.data instanceof RawPayload ? job.data.text : (JSON.stringify(shortened(job.data)) ?? "");
    const letter = { queue: job.queueName, job: job.id, reason, data: payload.slice(0, KEPT_LENGTH) };
    // The id: a worker that dies after this line buries the same job again.
    const jobId = createHash("sha256").update(JSON.stringify(letter)).update(String(job.timestamp)).digest("hex");
    await this.#queue.add("dead", letter, { jobId, removeOnComplete: true });
    await trimWaiting(this.#redis, this.#queue, MOST_DEAD_LETTERS);
    await this.#queue.clean(KEPT_MS, MOST_DEAD_LETTERS, "wait");
    job.opts.removeOnFail = true;
    return new UnrecoverableError(`JOB_INVALID: ${reason}`);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** Of very many items the first ones: written out whole, they would take the memory that the payload took once more. */
function shortened(data: unknown): unknown {
  const { items } = (data ?? {}) as { items?: unknown };
  return Array.isArray(items) ? { ...(data as object), items: items.slice(0, KEPT_ITEMS) } : data;
}

/** What keeps a job's payload from being what `schema` says; undefined where nothing does. */
export function unreadableReason({ data }: QueuedJob, schema: z.ZodType): string | undefined {
  if (data instanceof RawPayload) return `expected a payload and options that BullMQ can read, got: ${data.reason}`;
  const issue = schema.safeParse(data).error?.issues[0];
  return issue && `${issue.path.join(".") || "payload"}: ${issue.message}`;
}
