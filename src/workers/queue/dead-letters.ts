import { createHash } from "node:crypto";
import { type Queue, type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { Redis } from "ioredis";
import type { z } from "zod";
import type { Logger } from "../../logger.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { RawPayload } from "../../runs/queues/queue-worker.ts";
import { trimWaiting } from "../../runs/queues/trim-queue.ts";
import { DEAD_LETTER_QUEUE } from "../../schemas/names.ts";

/** A payload may be of any size. Longer ones are cut, in UTF-16 code units. */
const MAX_PAYLOAD_LENGTH = 100_000;
const MAX_PAYLOAD_ITEMS = 1000;
/** If there are more dead letters, the oldest are removed. */
export const MAX_DEAD_LETTERS = 1000;
/** Dead letters are removed after this time: 30 days. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;

/** The queue of jobs that no worker can process. They are kept with the reason, for an operator, and never retried. */
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
   * Keeps the payload of a job. The job itself leaves its queue when it fails.
   * @returns the error for the processor to throw, so that BullMQ does not retry the job
   */
  async add(job: QueuedJob, reason: string): Promise<UnrecoverableError> {
    this.#log.error({ job: job.id, reason }, "job is invalid: moved to the dead-letter queue");
    const payload = job.data instanceof RawPayload ? job.data.text : (JSON.stringify(shortened(job.data)) ?? "");
    const letter = { queue: job.queueName, job: job.id, reason, data: payload.slice(0, MAX_PAYLOAD_LENGTH) };
    // The id is a hash of the letter: if this worker dies after the next line, another one adds the same letter again.
    const jobId = createHash("sha256").update(JSON.stringify(letter)).update(String(job.timestamp)).digest("hex");
    await this.#queue.add("dead", letter, { jobId, removeOnComplete: true });
    await trimWaiting(this.#redis, this.#queue, MAX_DEAD_LETTERS);
    await this.#queue.clean(MAX_AGE_MS, MAX_DEAD_LETTERS, "wait");
    job.opts.removeOnFail = true;
    return new UnrecoverableError(`JOB_INVALID: ${reason}`);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** Only the first items of very many: all of them as JSON would take the memory of the payload a second time. */
function shortened(data: unknown): unknown {
  const { items } = (data ?? {}) as { items?: unknown };
  return Array.isArray(items) ? { ...(data as object), items: items.slice(0, MAX_PAYLOAD_ITEMS) } : data;
}

/** Why a job's payload does not match `schema`. Undefined if it does. */
export function unreadableReason({ data }: QueuedJob, schema: z.ZodType): string | undefined {
  if (data instanceof RawPayload) return `expected a payload and options that BullMQ can read, got: ${data.reason}`;
  const issue = schema.safeParse(data).error?.issues[0];
  return issue && `${issue.path.join(".") || "payload"}: ${issue.message}`;
}
