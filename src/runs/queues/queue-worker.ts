import { type Job, type Processor, Worker, type WorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { logQueueErrors } from "./queue-errors.ts";

/** The payload of a job that BullMQ cannot read: its text in Redis, and the parser's error. */
export class RawPayload {
  readonly text: string;
  readonly reason: string;

  constructor(text: string, reason: string) {
    this.text = text;
    this.reason = reason;
  }
}

/** Fields of a job's hash that BullMQ parses before it creates the job. */
const PARSED_FIELDS = ["opts", "progress"] as const;

type JobFields = Parameters<typeof Job.fromJSON>[1];

/** Lock and stall options of all queue workers. A worker renews the lock of each of its jobs by a timer. */
export function lockOptions({ lockMs, stallCheckMs }: { lockMs: number; stallCheckMs: number }) {
  return {
    /** If a worker does not renew the lock for this long, another worker gets the job. In ms. */
    lockDuration: lockMs,
    /** How often jobs without a lock are looked for, in ms. */
    stalledInterval: stallCheckMs,
    // No limit: `slice-attempt.ts` counts lost workers. BullMQ's own limit would fail the job and report it to no run.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
  };
}

/**
 * A BullMQ worker that survives jobs which BullMQ cannot read. A plain worker would fail while it fetches such a job,
 * and fetch it again at every stall check. This one passes a payload that is not JSON to the processor as a
 * `RawPayload`. It deletes options and progress that are not JSON; the next stall check then brings the job back.
 */
export class QueueWorker extends Worker {
  /** @param options `connection` must be a connection, not an address */
  constructor(name: string, processor: Processor, options: WorkerOptions, log: Logger) {
    super(name, processor, options);
    logQueueErrors(this, this.opts.connection as Redis, log);
    this.on("error", (error) => {
      if (error instanceof SyntaxError || error instanceof TypeError)
        void this.#deleteUnreadableFields().catch((failed: Error) => this.emit("error", failed));
    });
  }

  /** The number of jobs that wait in the queue, without delayed ones. */
  async countWaiting(): Promise<number> {
    const redis = this.opts.connection as Redis;
    const counts = await Promise.all([redis.llen(this.toKey("wait")), redis.zcard(this.toKey("prioritized"))]);
    return counts[0] + counts[1];
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

  /** Checks all active jobs: the job is active already, and the error of the fetch does not name it. */
  async #deleteUnreadableFields(): Promise<void> {
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
