import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { PlanJob } from "../../schemas/job.ts";
import { JOB_VERSION, PLANS_QUEUE, plansQueue, SERVED_JOB_VERSIONS } from "../../schemas/names.ts";
import { RunLedger } from "../ledger/ledger.ts";
import { jobRetries, type Retries } from "./job-retries.ts";
import { jobStates, openQueue } from "./queue.ts";

/** Queues runs to be planned by workers. A worker opens the inputs, queues the slices and watches the run until it ends. */
export class PlanQueue {
  readonly #queue: Queue;
  readonly #older: Queue[];
  readonly #ledger: RunLedger;
  readonly #retries: Retries;

  constructor(redis: Redis, retries: Retries) {
    this.#queue = openQueue(redis, PLANS_QUEUE);
    this.#older = SERVED_JOB_VERSIONS.slice(1).map((version) => openQueue(redis, plansQueue(version)));
    this.#ledger = new RunLedger(redis);
    this.#retries = retries;
  }

  /** Makes the run known and queues its planning. A run that failed or was cancelled resumes at the place where its planning stopped. */
  async add(run: string, output: string): Promise<void> {
    await this.#ledger.submit(run, output);
    const jobId = planJobId(run);
    // BullMQ ignores a job with an id that exists, and a failed job may have it. A running job is not removed.
    for (const queue of [this.#queue, ...this.#older]) await queue.remove(jobId);
    // Two planners of one run would queue its slices twice.
    if ((await jobStates(this.#older, jobId)).includes("active")) return;
    await this.#queue.add("plan", { v: JOB_VERSION, run, output } satisfies PlanJob, {
      jobId,
      ...jobRetries(this.#retries),
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#queue, ...this.#older].map((queue) => queue.close()));
  }
}

/** The id of the job that plans a run. */
export function planJobId(run: string): string {
  return `${run}-plan`;
}
