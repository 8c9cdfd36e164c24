import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { PlanJob } from "../../schemas/job.ts";
import { JOB_VERSION, PLANS_QUEUE } from "../../schemas/names.ts";
import { RunLedger } from "../ledger/ledger.ts";
import { jobRetries, type Retries } from "./finalizer-queue.ts";
import { openQueue } from "./queue.ts";

/** Has workers plan runs: each opens the inputs, cuts and queues them, and stays with the run to its end. */
export class PlanQueue {
  readonly #queue: Queue;
  readonly #ledger: RunLedger;
  readonly #retries: Retries;

  constructor(redis: Redis, retries: Retries) {
    this.#queue = openQueue(redis, PLANS_QUEUE);
    this.#ledger = new RunLedger(redis);
    this.#retries = retries;
  }

  /** The run is known from here on; one that failed or was cancelled is taken up again, at the place it was planned up to. */
  async add(run: string, output: string): Promise<void> {
    await this.#ledger.submit(run, output);
    const jobId = `${run}-plan`;
    // Adding an id that exists does nothing, and one that failed for good may be there. One that runs goes on.
    await this.#queue.remove(jobId);
    await this.#queue.add("plan", { v: JOB_VERSION, run, output } satisfies PlanJob, {
      jobId,
      ...jobRetries(this.#retries),
    });
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
