import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { CompactJob, FinalizeJob } from "../../schemas/job.ts";
import { compactJobId, finalizeJobId, JOB_VERSION, RUNS_QUEUE } from "../../schemas/names.ts";
import { jobRetries, type Retries } from "./job-retries.ts";
import { openQueue } from "./queue.ts";

/** Queues the finalizer of runs, and the compaction of their parts. The finalizer is idempotent: any process that finds a run complete may queue it. */
export class FinalizerQueue {
  readonly #queue: Queue;
  readonly #retries: Retries;

  constructor(redis: Redis, retries: Retries) {
    this.#queue = openQueue(redis, RUNS_QUEUE);
    this.#retries = retries;
  }

  /** Queues the finalizer of a run. @param compacted the output files of the run are complete */
  async add(run: string, output: string, compacted = false): Promise<void> {
    const id = finalizeJobId(run, compacted);
    await this.#removeFailed(id);
    await this.#queue.add("finalize", { v: JOB_VERSION, run, output } satisfies FinalizeJob, {
      jobId: id,
      ...jobRetries(this.#retries),
    });
  }

  /** Queues the compaction of a range of slices. */
  async compact(job: Omit<CompactJob, "v">): Promise<void> {
    const id = compactJobId(job.run, job.range);
    await this.#removeFailed(id);
    const data = { v: JOB_VERSION, ...job } satisfies CompactJob;
    await this.#queue.add("compact", data, { jobId: id, ...jobRetries(this.#retries) });
  }

  /**
   * Removes a failed job, because BullMQ ignores a job with an id that exists. A job that waits for its next attempt stays: queued again,
   * it would never run out of attempts.
   */
  async #removeFailed(id: string): Promise<void> {
    if ((await this.#queue.getJobState(id)) === "failed") await this.#queue.remove(id);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
