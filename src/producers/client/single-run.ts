import type { Queue } from "bullmq";
import { LabelmillError } from "../../errors.ts";
import { readPart } from "../../rows/part.ts";
import type { Channels } from "../../runs/channels.ts";
import { jobRetries, type Retries } from "../../runs/queues/finalizer-queue.ts";
import type { SingleEnd, SingleEnds } from "../../runs/singles.ts";
import { parseEvent } from "../../schemas/event.ts";
import type { Job } from "../../schemas/job.ts";
import { jobId, runChannel } from "../../schemas/names.ts";
import type { Row } from "../../schemas/row.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { Room } from "../planning/redis-room.ts";
import type { Run, RunResult } from "./run.ts";

const LOOK_EVERY_MS = 5_000;

export type SingleRunParts = {
  job: Job;
  queue: Queue;
  retries: Retries;
  room: Room;
  channels: Channels;
  ends: SingleEnds;
  openToRead: (uri: string) => Promise<ReadableStore>;
};

/** A submission that is one job: its end is heard of, and looked for in case that was not heard. */
export class SingleRun implements Run {
  readonly run: string;
  readonly output: string;
  readonly #parts: SingleRunParts;
  readonly #end = Promise.withResolvers<SingleEnd>();
  #rows: Row[] | undefined;
  #stop: () => void = () => {};
  #looking: NodeJS.Timeout | undefined;
  /** It was added once: before, whoever adds it waits for that. */
  #isQueued = false;

  private constructor(parts: SingleRunParts) {
    this.#parts = parts;
    this.run = parts.job.run;
    this.output = parts.job.output + parts.job.key;
    // Whoever does not wait for it need not handle its failure.
    this.#end.promise.catch(() => {});
  }

  /** Queues the job. @throws LabelmillError REDIS_FULL, and whatever Redis says when it is not there: then nothing was queued */
  static async start(parts: SingleRunParts, signal: AbortSignal): Promise<SingleRun> {
    const single = new SingleRun(parts);
    const { run, channels, room } = { ...parts, run: single.run };
    const deaf = await channels.listen(runChannel(run), (message) => single.#hear(message));
    const abort = () => single.#fail(new LabelmillError("ABORTED", "the producer was closed before the run had ended"));
    signal.addEventListener("abort", abort, { once: true });
    single.#stop = () => {
      deaf();
      clearInterval(single.#looking);
      signal.removeEventListener("abort", abort);
    };
    // Before the job is added: a worker may be faster than the answer to that.
    single.#looking = setInterval(() => void single.#look().catch(() => {}), LOOK_EVERY_MS);
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
    const { job, openToRead } = this.#parts;
    if (failed) throw new LabelmillError("RUN_FAILED", `the run ${this.run} failed: ${failed.code}: ${failed.message}`);
    if (!this.#rows) {
      const store = await openToRead(job.output);
      this.#rows = readPart(await store.get(job.key)).rows;
    }
    yield* this.#rows;
  }

  async #add(): Promise<void> {
    const { queue, job, retries } = this.#parts;
    await queue.add("slice", job, { jobId: jobId(job.run, job.slice), ...jobRetries(retries) });
  }

  #hear(message: string): void {
    const event = parseEvent(message);
    if (event?.run !== this.run) return;
    this.#rows = event.items;
    this.#settle(event);
  }

  /** A message may be lost, and so may a job: a Redis that was emptied has neither. */
  async #look(): Promise<void> {
    const { ends, queue, job } = this.#parts;
    const id = jobId(job.run, job.slice);
    // The end is noted before the job goes: looked at in this order, one of the two is there.
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
