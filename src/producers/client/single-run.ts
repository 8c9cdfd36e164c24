import type { Queue } from "bullmq";
import { LabelmillError } from "../../errors.ts";
import { readPart } from "../../rows/part.ts";
import type { Channels } from "../../runs/channels.ts";
import { jobRetries, type Retries } from "../../runs/queues/job-retries.ts";
import type { SingleEnd, SingleEnds } from "../../runs/single-results.ts";
import { parseEvent } from "../../schemas/event.ts";
import type { Job } from "../../schemas/job.ts";
import { jobId, runChannel } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { RedisRoom } from "../planning/redis-room.ts";
import type { Run, RunResult } from "./run.ts";

/** How often the state in Redis is read, in case a message was lost. */
const POLL_MS = 5_000;

export type SingleRunDeps = {
  job: Job;
  queue: Queue;
  retries: Retries;
  room: RedisRoom;
  channels: Channels;
  ends: SingleEnds;
  openToRead: (uri: string) => Promise<ReadableStore>;
};

/** A submission that is one job. Its end arrives as a message, and is also polled. */
export class SingleRun implements Run {
  readonly run: string;
  readonly output: string;
  readonly #deps: SingleRunDeps;
  readonly #end = Promise.withResolvers<SingleEnd>();
  #rows: Row[] | undefined;
  #stop: () => void = () => {};
  #poll: NodeJS.Timeout | undefined;
  /** The job was added once. Before that, a missing job is not a lost job. */
  #isQueued = false;

  private constructor(deps: SingleRunDeps) {
    this.#deps = deps;
    this.run = deps.job.run;
    this.output = deps.job.output + deps.job.key;
    // A caller that does not wait need not handle the failure.
    this.#end.promise.catch(() => {});
  }

  /** Queues the job. @throws LabelmillError REDIS_FULL, or the error of the Redis connection; the job is not queued then */
  static async start(deps: SingleRunDeps, signal: AbortSignal): Promise<SingleRun> {
    const single = new SingleRun(deps);
    const { run, channels, room } = { ...deps, run: single.run };
    const unsubscribe = await channels.listen(runChannel(run), (message) => single.#receive(message));
    const abort = () => single.#fail(new LabelmillError("ABORTED", "the producer was closed before the run had ended"));
    signal.addEventListener("abort", abort, { once: true });
    single.#stop = () => {
      unsubscribe();
      clearInterval(single.#poll);
      signal.removeEventListener("abort", abort);
    };
    // Before the job is added: a worker may finish it before Redis replies.
    single.#poll = setInterval(() => void single.#check().catch(() => {}), POLL_MS);
    try {
      await room.take(() => single.#add(), signal);
      single.#isQueued = true;
    } catch (error) {
      single.#stop();
      throw error;
    }
    return single;
  }

  async wait(): Promise<RunResult> {
    const { rows, errors, labels, failed } = await this.#end.promise;
    const { run, output } = this;
    const state = failed ? "failed" : errors > 0 ? "finished_with_errors" : "succeeded";
    return { run, state, output, rows, errors, labels, ...(failed ? { failed, failedSlices: 1 } : {}) };
  }

  async *rows(): AsyncGenerator<Row> {
    const { failed } = await this.#end.promise;
    const { job, openToRead } = this.#deps;
    if (failed) throw new LabelmillError("RUN_FAILED", `the run ${this.run} failed: ${failed.code}: ${failed.message}`);
    if (!this.#rows) {
      const store = await openToRead(job.output);
      this.#rows = readPart(await store.get(job.key)).rows;
    }
    yield* this.#rows;
  }

  async #add(): Promise<void> {
    const { queue, job, retries } = this.#deps;
    await queue.add("slice", job, { jobId: jobId(job.run, job.slice), ...jobRetries(retries) });
  }

  #receive(message: string): void {
    const event = parseEvent(message);
    if (event?.run !== this.run) return;
    this.#rows = event.items;
    this.#settle(event);
  }

  /** Reads the state in Redis: the message may be lost, and so may the job, for example with an emptied Redis. */
  async #check(): Promise<void> {
    const { ends, queue, job } = this.#deps;
    const id = jobId(job.run, job.slice);
    // The end is stored before the job is removed. Read in this order, one of the two is found.
    const state = await queue.getJobState(id);
    const end = await ends.get(this.run);
    if (end) return this.#settle(end);
    if (this.#isQueued && (state === "unknown" || state === "completed")) await this.#add();
    if (state === "failed") {
      const failed = await queue.getJob(id);
      const reason = failed?.failedReason ?? "its job failed";
      this.#fail(new LabelmillError("RUN_FAILED", `the run ${this.run} failed: ${reason}`));
    }
  }

  #settle(end: SingleEnd): void {
    this.#stop();
    this.#end.resolve(end);
  }

  #fail(error: LabelmillError): void {
    this.#stop();
    this.#end.reject(error);
  }
}
