import { type Job, type Processor, Worker, type WorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { logQueueErrors } from "./queue-errors.ts";

/** The payload of a job that BullMQ cannot read, as it stands in Redis, and why. */
export class RawPayload {
  readonly text: string;
  readonly reason: string;

  constructor(text: string, reason: string) {
    this.text = text;
    this.reason = reason;
  }
}

/** What BullMQ parses of a job's hash before it makes the job. */
const PARSED_FIELDS = ["opts", "progress"] as const;

type JobFields = Parameters<typeof Job.fromJSON>[1];

/**
 * A BullMQ worker that survives jobs which BullMQ cannot read. It would fail while it fetches such a job, and fetch it again at every
 * stall check. Here a payload that is not JSON goes to the processor, as a `RawPayload`; options and a progress that are not JSON are
 * dropped, and the next stall check brings the job back.
 */
export class QueueWorker extends Worker {
  /** @param options whose `connection` is a connection, not its address */
  constructor(name: string, processor: Processor, options: WorkerOptions, log: Logger) {
    super(name, processor, options);
    logQueueErrors(this, this.opts.connection as Redis, log);
    this.on("error", (error) => {
      if (error instanceof SyntaxError || error instanceof TypeError)
        void this.#dropUnreadableFields().catch((failed: Error) => this.emit("error", failed));
    });
  }

  protected override createJob(fields: JobFields, id: string): Job {
    try {
      return super.createJob(fields, id);
    } catch (error) {
      const { name, timestamp, processedOn, attemptsMade, attemptsStarted, stalledCounter } = fields;
      const readable = { name, timestamp, processedOn, attemptsMade, attemptsStarted, stalledCounter };
      const job = super.createJob({ ...readable, data: "{}", opts: {} } as unknown as JobFields, id);
      job.data = new RawPayload(String(fields.data ?? ""), messageOf(error));
      return job;
    }
  }

  /** The fetch has put the job among the active ones already, and its error does not say which one it is. */
  async #dropUnreadableFields(): Promise<void> {
    const redis = this.opts.connection as Redis;
    const ids = await redis.lrange(this.toKey("active"), 0, -1);
    for (const id of ids) {
      const [options, progress] = await redis.hmget(this.toKey(id), ...PARSED_FIELDS);
      if (!isJson(options, "object") || !isJson(progress)) await redis.hdel(this.toKey(id), ...PARSED_FIELDS);
    }
  }
}

function isJson(text: string | null | undefined, type?: "object"): boolean {
  if (!text) return true;
  try {
    const value: unknown = JSON.parse(text);
    return type === undefined || (typeof value === type && value !== null);
  } catch {
    return false;
  }
}
