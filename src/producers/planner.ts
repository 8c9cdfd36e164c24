import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { FinalizerQueue, jobRetries, type Retries } from "../runs/finalizer-queue.ts";
import type { RunLedger } from "../runs/ledger.ts";
import { openQueue } from "../runs/queue.ts";
import { Turns } from "../runs/turns.ts";
import type { RunChanges } from "../runs/watch.ts";
import { type Job, JobSchema } from "../schemas/job.ts";
import { JOB_VERSION, jobId, type Lane, partKey, queueName } from "../schemas/names.ts";
import type { RunFile } from "../schemas/run.ts";
import type { Slice } from "../sources/slices.ts";
import type { Room } from "./room.ts";

export type PlannerOptions = {
  lane: Lane;
  /** Slices of this run queued or active at a time. */
  windowSlices: number;
  retries: Retries;
  /** Waits where Redis is out of memory. */
  room: Room;
};

/** Puts the slices of one run on its model's queue, as room comes, and knows how to find the ones that got lost there. */
export class Planner {
  readonly #ledger: RunLedger;
  readonly #runFile: RunFile;
  readonly #output: string;
  readonly #options: PlannerOptions;
  readonly #jobs: Queue;
  readonly #finalizer: FinalizerQueue;
  readonly #turns: Turns;
  /** The run is open in Redis: from here on, what is read there of it is this planning's. */
  begun = false;
  /** That of the slice queued last. */
  #turn = 0;

  constructor(redis: Redis, ledger: RunLedger, runFile: RunFile, output: string, options: PlannerOptions) {
    this.#ledger = ledger;
    this.#runFile = runFile;
    this.#output = output;
    this.#options = options;
    this.#jobs = openQueue(redis, queueName(runFile.spec.model, options.lane));
    this.#turns = new Turns(redis, this.#jobs.name);
    this.#finalizer = new FinalizerQueue(redis, options.retries);
  }

  /**
   * Plans the whole run: each slice is noted in the ledger, then queued; slices that are committed already are not queued
   * again. Waits while the run's window is full.
   * @param slices the same slices in the same order each time this run is planned
   */
  async plan(slices: AsyncIterable<Slice>, changes: RunChanges, signal: AbortSignal): Promise<void> {
    const { run, spec } = this.#runFile;
    const { lane, room } = this.#options;
    const about = { output: this.#output, model: spec.model, lane };
    const isNew = await room.take(() => this.#ledger.begin(run, about), signal);
    this.begun = true;
    let count = 0;
    let items = 0;
    for await (const slice of slices) {
      signal.throwIfAborted();
      await this.#roomFor(count, changes, signal);
      count += 1;
      items += slice.count;
      await room.take(() => this.#ledger.plan(run, [slice], items), signal);
      if (isNew) await room.take(() => this.#add(slice), signal);
      else if (!(await this.#ledger.isCommitted(run, slice.slice)))
        await room.take(() => this.#addAgain(slice), signal);
    }
    if (count === 0) throw new LabelmillError("INPUT_EMPTY", "the inputs hold no record: nothing to label");
    if (await this.#ledger.planDone(run, { slices: count, items })) await this.addFinalizer(signal);
  }

  /** All slices have ended: the run can be closed. */
  async addFinalizer(signal: AbortSignal): Promise<void> {
    await this.#options.room.take(() => this.#finalizer.add(this.#runFile.run, this.#output), signal);
  }

  /**
   * Slices that are planned, have not ended, and are in no queue: their jobs got lost, or failed without a word to the ledger.
   * One that is being queued at this moment may be among them: queued twice, it is still done once.
   */
  async lostSlices(signal: AbortSignal): Promise<Set<number>> {
    const { run } = this.#runFile;
    const lost = new Set<number>();
    for await (const { slice, receipt, failed } of this.#ledger.slices(run, await this.#ledger.plannedSlices(run))) {
      if (receipt || failed) continue;
      // BullMQ would wait here for a lost connection to come back.
      const state = await this.#options.room.take(() => this.#jobs.getJobState(jobId(run, slice)), signal);
      if (state === "unknown" || state === "failed" || state === "completed") lost.add(slice);
    }
    return lost;
  }

  /** Queues the slices of `lost` again, out of all the slices of the run. */
  async requeue(lost: ReadonlySet<number>, slices: AsyncIterable<Slice>, signal: AbortSignal): Promise<void> {
    let left = lost.size;
    for await (const slice of slices) {
      signal.throwIfAborted();
      if (!lost.has(slice.slice)) continue;
      await this.#options.room.take(() => this.#addAgain(slice), signal);
      left -= 1;
      if (left === 0) break;
    }
  }

  async close(): Promise<void> {
    await this.#jobs.close();
    await this.#finalizer.close();
  }

  /** Adding an id that exists does nothing at all, and an earlier try of this run may have left one. */
  async #addAgain(slice: Slice): Promise<void> {
    await this.#jobs.remove(jobId(this.#runFile.run, slice.slice));
    await this.#add(slice);
  }

  async #add(slice: Slice): Promise<void> {
    const { run, spec } = this.#runFile;
    const job: Job = {
      v: JOB_VERSION,
      run,
      slice: slice.slice,
      model: { id: spec.model.id, digest: spec.model.digest, task: spec.model.task },
      output: this.#output,
      key: partKey(run, slice.slice),
      topK: spec.topK,
      events: spec.events,
      ...(slice.splits ? { splits: slice.splits } : { sources: slice.sources, items: slice.items }),
    };
    if (this.#options.lane === "bulk") this.#turn = await this.#turns.next(this.#turn);
    await this.#jobs.add("slice", JobSchema.parse(job), {
      jobId: jobId(run, slice.slice),
      // Interactive slices are few and small: first come, first served.
      ...(this.#options.lane === "bulk" ? { priority: this.#turn } : {}),
      ...jobRetries(this.#options.retries),
    });
  }

  /** Backpressure is the run's own: the queue's depth would let the biggest run starve the others. */
  async #roomFor(planned: number, changes: RunChanges, signal: AbortSignal): Promise<void> {
    if (planned < this.#options.windowSlices) return;
    await changes.until(async () => {
      const progress = await this.#ledger.progress(this.#runFile.run);
      if (!progress)
        throw new LabelmillError("RUN_UNKNOWN", `Redis lost the run ${this.#runFile.run}`, { retryable: true });
      return planned - progress.committed - progress.failed < this.#options.windowSlices;
    }, signal);
  }
}
