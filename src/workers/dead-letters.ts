import { type Queue, type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { Redis } from "ioredis";
import type { z } from "zod";
import type { Logger } from "../logger.ts";
import { openQueue } from "../runs/queue.ts";
import { DEAD_LETTER_QUEUE } from "../schemas/names.ts";

/** The most of a payload that is kept, in UTF-16 units: it may be of any size. */
const KEPT_LENGTH = 100_000;
const KEPT_ITEMS = 1000;

/** Jobs that do not parse: kept with the reason for a person to see, never tried again. */
export class DeadLetters {
  readonly #queue: Queue;
  readonly #log: Logger;

  constructor(redis: Redis, log: Logger) {
    this.#queue = openQueue(redis, DEAD_LETTER_QUEUE);
    this.#log = log;
  }

  /** @returns what the processor throws then, so that BullMQ does not try the job again */
  async bury(job: QueuedJob, reason: string): Promise<UnrecoverableError> {
    this.#log.error({ job: job.id, reason }, "job does not parse: moved to the dead-letter queue");
    const data = JSON.stringify(shortened(job.data))?.slice(0, KEPT_LENGTH);
    await this.#queue.add("dead", { queue: job.queueName, job: job.id, reason, data }, { removeOnComplete: true });
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

/** Where in a payload the first thing is wrong, and what. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return `${issue.path.join(".") || "payload"}: ${issue.message}`;
}
