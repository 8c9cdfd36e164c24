import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { CompactJob, FinalizeJob } from "../../schemas/job.ts";
import { compactJobId, finalizeJobId, JOB_VERSION, RUNS_QUEUE } from "../../schemas/names.ts";
import { openQueue } from "./queue.ts";

export type Retries = { attempts: number; backoffMs: number };

/** Asks for a run to be closed. The finalizer is idempotent: whoever finds a run complete may ask. */
export class FinalizerQueue {
  readonly #queue: Queue;
  readonly #retries: Retries;

  constructor(redis: Redis, retries: Retries) {
    this.#queue = openQueue(redis, RUNS_QUEUE);
    this.#retries = retries;
  }

  /** @param compacted its output files are made */
  async add(run: string, output: string, compacted = false): Promise<void> {
    const id = finalizeJobId(run, compacted);
    await this.#forgetFailed(id);
    await this.#queue.add("finalize", { v: JOB_VERSION, run, output } satisfies FinalizeJob, {
      jobId: id,
      ...jobRetries(this.#retries),
    });
  }

  /** Asks for the output files of a range of slices. */
  async compact(job: Omit<CompactJob, "v">): Promise<void> {
    const id = compactJobId(job.run, job.range);
    await this.#forgetFailed(id);
    const data = { v: JOB_VERSION, ...job } satisfies CompactJob;
    await this.#queue.add("compact", data, { jobId: id, ...jobRetries(this.#retries) });
  }

  /** Adding an id that exists does nothing. One that waits for its next try must stay: asked for anew, it would be tried for ever. */
  async #forgetFailed(id: string): Promise<void> {
    if ((await this.#queue.getJobState(id)) === "failed") await this.#queue.remove(id);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** What becomes of a job that ends: done, it is removed; failed, it is tried again, then kept a while for a person to see. */
export function jobRetries({ attempts, backoffMs }: Retries) {
  return {
    attempts,
    backoff: { type: "exponential", delay: backoffMs },
    removeOnComplete: true,
    removeOnFail: { count: 1000 },
  };
}
