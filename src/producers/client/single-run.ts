import type { Queue } from "bullmq";
import { LabelmillError } from "../../errors.ts";
import { readPart } from "../../rows/part.ts";
import type { Channels } from "../../runs/channels.ts";
import { sliceJobName } from "../../runs/queues/backlog.ts";
import { jobRetries } from "../../runs/queues/job-retries.ts";
import { partEnd, type SingleEnd, type SingleEnds } from "../../runs/single-results.ts";
import { parseEvent } from "../../schemas/event.ts";
import { jobId, runChannel } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { RedisRoom } from "../planning/redis-room.ts";
import type { Run, RunResult } from "./run.ts";
import { RETRIES, type Single } from "./single.ts";

/** How often the state in Redis is read, in case a message was lost. */
const POLL_MS = 5_000;

export type SingleRunDeps = {
  single: Single;
  queue: Queue;
  room: RedisRoom;
  channels: Channels;
  ends: SingleEnds;
  openToRead: (uri: string) => Promise<ReadableStore>;
  /** The error for a caller whose connection to Redis is lost. */
  lost: (cause: unknown) => LabelmillError;
};

/** A submission that is one job. Its end arrives as a message, and is also polled. */
export class SingleRun implements Run {
  readonly run: string;
  readonly output: string;
  readonly #deps: SingleRunDeps;
  readonly #end = Promise.withResolvers<SingleEnd>();
  readonly #signal: AbortSignal;
  #rows: Row[] | undefined;
  /** Undefined before the end is waited for. */
  #listening: Promise<void> | undefined;
  #stop: () => void = () => {};
  /** The job was added once. Before that, a missing job is not a lost job. */
  #isQueued = false;

  private constructor(deps: SingleRunDeps, signal: AbortSignal) {
    const { job } = deps.single;
    this.#deps = deps;
    this.#signal = signal;
    this.run = job.run;
    this.output = job.output + job.key;
    // A caller that does not wait need not handle the failure.
    this.#end.promise.catch(() => {});
  }

  /** Queues the job. @throws LabelmillError REDIS_FULL, or the error of the Redis connection; the job is not queued then */
  static async start(deps: SingleRunDeps, signal: AbortSignal): Promise<SingleRun> {
    const single = new SingleRun(deps, signal);
    // Before the job is added: a worker may finish it before Redis replies.
    await single.#listen();
    try {
      await SingleRun.enqueue(deps, signal);
      single.#isQueued = true;
    } catch (error) {
      single.#stop();
      throw error;
    }
    return single;
  }

  /** A single that was queued before. It has cost nothing until `wait` or `rows` is called. */
  static watch(deps: SingleRunDeps, signal: AbortSignal): SingleRun {
    const single = new SingleRun(deps, signal);
    single.#isQueued = true;
    return single;
  }

  /** Queues the job of a single; one that is in the queue stays as it is. @throws as `start` */
  static async enqueue({ single: { job }, queue, room }: SingleRunDeps, signal: AbortSignal): Promise<void> {
    const options = { jobId: jobId(job.run, job.slice), ...jobRetries(RETRIES) };
    await room.take(() => queue.add(sliceJobName(job), job, options), signal);
  }

  async wait(): Promise<RunResult> {
    const { rows, errors, labels, failed } = await this.#ended();
    const { run, output } = this;
    const state = failed ? "failed" : errors > 0 ? "finished_with_errors" : "succeeded";
    return { run, state, output, rows, errors, labels, ...(failed ? { failed, failedSlices: 1 } : {}) };
  }

  async *rows(): AsyncGenerator<Row> {
    const { failed } = await this.#ended();
    if (failed) throw new LabelmillError("RUN_FAILED", `the run ${this.run} failed: ${failed.code}: ${failed.message}`);
    if (!this.#rows) {
      const { job } = this.#deps.single;
      const store = await this.#deps.openToRead(job.output);
      this.#rows = readPart(await store.get(job.key)).rows;
    }
    yield* this.#rows;
  }

  /** Receives no more messages: the caller does not need the end any more. A `wait` that is in progress does not settle. */
  release(): void {
    this.#stop();
  }

  /** Removes the job, unless a worker has taken it, and receives no more messages: no caller needs the rows any more. */
  async withdraw(): Promise<void> {
    this.#isQueued = false;
    this.#stop();
    const { queue, single } = this.#deps;
    await queue.remove(jobId(single.job.run, single.job.slice));
  }

  async #ended(): Promise<SingleEnd> {
    if (this.#listening) return this.#end.promise;
    try {
      await this.#listen();
      // The end may be there already.
      await this.#check();
    } catch (error) {
      // The next call tries again.
      this.#stop();
      this.#listening = undefined;
      throw error instanceof LabelmillError ? error : this.#deps.lost(error);
    }
    return this.#end.promise;
  }

  #listen(): Promise<void> {
    this.#listening ??= this.#subscribe();
    return this.#listening;
  }

  async #subscribe(): Promise<void> {
    const unsubscribe = await this.#deps.channels.listen(runChannel(this.run), (message) => this.#receive(message));
    const abort = () => this.#fail(new LabelmillError("ABORTED", "the producer was closed before the run had ended"));
    this.#signal.addEventListener("abort", abort, { once: true });
    const poll = setInterval(() => void this.#check().catch(() => {}), POLL_MS);
    this.#stop = () => {
      unsubscribe();
      clearInterval(poll);
      this.#signal.removeEventListener("abort", abort);
    };
  }

  #receive(message: string): void {
    const event = parseEvent(message);
    if (event?.run !== this.run) return;
    this.#rows = event.items;
    this.#settle(event);
  }

  /** Reads the state in Redis: the message may be lost, and so may the job, for example with an emptied Redis. */
  async #check(): Promise<void> {
    const { ends, queue, single } = this.#deps;
    const id = jobId(single.job.run, single.job.slice);
    // The end is stored before the job is removed. Read in this order, one of the two is found.
    const state = await queue.getJobState(id);
    const end = await ends.get(this.run);
    if (end) return this.#settle(end);
    if (this.#isQueued && (state === "unknown" || state === "completed")) {
      const stored = await this.#stored();
      if (stored) return this.#settle(stored);
      if (!this.#isQueued) return;
      await SingleRun.enqueue(this.#deps, this.#signal);
    }
    if (state === "failed") {
      const failed = await queue.getJob(id);
      const reason = failed?.failedReason ?? "its job failed";
      this.#fail(new LabelmillError("RUN_FAILED", `the run ${this.run} failed: ${reason}`));
    }
  }

  /** The end by the part. Undefined if it does not exist, or cannot be read here. */
  async #stored(): Promise<SingleEnd | undefined> {
    const { job } = this.#deps.single;
    try {
      return partEnd(job, await (await this.#deps.openToRead(job.output)).get(job.key));
    } catch (error) {
      if (error instanceof LabelmillError) return undefined;
      throw error;
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
