import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import { splitsOf } from "../../runs/ledger/codec.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import { FinalizerQueue, jobRetries, type Retries } from "../../runs/queues/finalizer-queue.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { Turns } from "../../runs/queues/turns.ts";
import { isEnded } from "../../runs/state.ts";
import type { RunChanges } from "../../runs/watch.ts";
import { type Job, JobSchema } from "../../schemas/job.ts";
import { JOB_VERSION, jobId, type Lane, partKey, queueName } from "../../schemas/names.ts";
import { isCompacted } from "../../schemas/output.ts";
import type { RunFile } from "../../schemas/run.ts";
import type { Place, Slice } from "../../sources/slices.ts";
import { Outstanding } from "./outstanding.ts";
import { type Room, redisFull } from "./redis-room.ts";
import { RedisShare } from "./redis-share.ts";

export type PlannerOptions = {
  lane: Lane;
  /** Slices of this run queued or active at a time. */
  windowSlices: number;
  retries: Retries;
  /** Waits where Redis is out of memory. */
  room: Room;
  /** The share of Redis's `maxmemory`, where it has one, above which nothing is added. By default 0.8. */
  redisShare?: number;
};

const REDIS_SHARE = 0.8;

/** Slices from the first or from a place on; one that ignores the place gives all of them. */
export type SlicesFrom = (from?: Place) => AsyncIterable<Slice>;

type Content = Pick<Slice, "sources" | "items" | "splits">;

/** Puts the slices of one run on its model's queue, as room comes, and knows how to find the ones that got lost there. */
export class Planner {
  readonly #ledger: RunLedger;
  readonly #runFile: RunFile;
  readonly #output: string;
  readonly #options: PlannerOptions;
  readonly #jobs: Queue;
  readonly #finalizer: FinalizerQueue;
  readonly #turns: Turns;
  readonly #share: RedisShare;
  readonly #outstanding: Outstanding;
  /** The run is open in Redis: from here on, what is read there of it is this planning's. */
  begun = false;
  /** That of the slice queued last. */
  #turn = 0;
  /** A slice is queued while the next one is found and noted: else a planner of small slices waits for Redis most of its time. */
  #adding = Promise.resolve();

  constructor(redis: Redis, ledger: RunLedger, runFile: RunFile, output: string, options: PlannerOptions) {
    this.#ledger = ledger;
    this.#runFile = runFile;
    this.#output = output;
    this.#options = options;
    this.#jobs = openQueue(redis, queueName(runFile.spec.model, options.lane));
    this.#turns = new Turns(redis, this.#jobs.name);
    this.#share = new RedisShare(redis, options.redisShare ?? REDIS_SHARE);
    this.#outstanding = new Outstanding(options.windowSlices);
    this.#finalizer = new FinalizerQueue(redis, options.retries);
  }

  /**
   * Plans the whole run: each slice is noted in the ledger, with the place at which the next one begins, then queued. Waits while the
   * run's window is full or the run is paused. What was planned before is not cut again: planning goes on at the place that was
   * noted, once those slices before it that are in no queue are queued again.
   * @param slices the same slices in the same order each time this run is planned
   */
  async plan(slices: SlicesFrom, changes: RunChanges, signal: AbortSignal): Promise<void> {
    const { run, spec, settings } = this.#runFile;
    const { lane, room } = this.#options;
    const about = { output: this.#output, model: spec.model, lane };
    const { next, planned } = await room.take(() => this.#ledger.begin<Place>(run, about, settings), signal);
    this.begun = true;
    this.#adding = Promise.resolve();
    if (next) await this.requeue(await this.lostSlices(signal), slices, signal);
    let [count, items] = [next?.slice ?? 0, next?.items ?? 0];
    for await (const slice of planned && next ? [] : slices(next)) {
      signal.throwIfAborted();
      if (slice.slice < count) continue;
      await this.#roomFor(count, slice, changes, signal);
      count += 1;
      items += slice.count;
      const state = await room.take(() => this.#ledger.plan(run, [slice], items, slice.next), signal);
      if (!state) throw lost(run);
      if (state === "paused") await changes.until(async () => (await this.#ledger.state(run)) !== "paused", signal);
      await this.#adding;
      this.#adding = room.take(() => this.#add(slice.slice, slice), signal);
      // Its failure is that of the next wait for it, unless something else fails before.
      this.#adding.catch(() => {});
    }
    await this.#adding;
    if (count === 0) throw nothingToLabel(spec);
    if (await this.#ledger.planDone(run, { slices: count, items })) await this.addFinalizer(signal);
  }

  /** All slices have ended: the run can be closed. */
  async addFinalizer(signal: AbortSignal): Promise<void> {
    await this.#options.room.take(() => this.#finalizer.add(this.#runFile.run, this.#output), signal);
  }

  /**
   * Slices that are planned, have not ended, and are in no queue: their jobs got lost, or failed without a word to the ledger.
   * One that is being queued at this moment may be among them: queued twice, it is still done once. Those whose items the workers read
   * come with their splits.
   */
  async lostSlices(signal: AbortSignal): Promise<Map<number, Content | undefined>> {
    const { run } = this.#runFile;
    const lost = new Map<number, Content | undefined>();
    for await (const record of this.#ledger.slices(run, await this.#ledger.plannedSlices(run))) {
      if (record.receipt || record.failed) continue;
      // BullMQ would wait here for a lost connection to come back.
      const state = await this.#options.room.take(() => this.#jobs.getJobState(jobId(run, record.slice)), signal);
      if (state !== "unknown" && state !== "failed" && state !== "completed") continue;
      const splits = splitsOf(record, this.#runFile);
      lost.set(record.slice, splits && { splits });
    }
    return lost;
  }

  /** Queues lost slices again. Those whose items travel are looked for among all the slices of the run. */
  async requeue(lost: Map<number, Content | undefined>, slices: SlicesFrom, signal: AbortSignal): Promise<void> {
    const travelling = new Set<number>();
    for (const [slice, content] of lost) {
      signal.throwIfAborted();
      if (content) await this.#options.room.take(() => this.#addAgain(slice, content), signal);
      else travelling.add(slice);
    }
    if (travelling.size === 0) return;
    for await (const slice of slices()) {
      signal.throwIfAborted();
      if (!travelling.delete(slice.slice)) continue;
      await this.#options.room.take(() => this.#addAgain(slice.slice, slice), signal);
      if (travelling.size === 0) break;
    }
  }

  async close(): Promise<void> {
    await this.#jobs.close();
    await this.#finalizer.close();
  }

  /** Adding an id that exists does nothing at all, and an earlier try of this run may have left one. */
  async #addAgain(slice: number, content: Content): Promise<void> {
    await this.#jobs.remove(jobId(this.#runFile.run, slice));
    await this.#add(slice, content);
  }

  async #add(slice: number, { sources, items, splits }: Content): Promise<void> {
    const { run, spec, settings } = this.#runFile;
    const job = {
      v: JOB_VERSION,
      run,
      slice,
      model: { id: spec.model.id, digest: spec.model.digest, task: spec.model.task },
      output: this.#output,
      key: partKey(run, slice, isCompacted(spec.output)),
      topK: spec.topK,
      events: spec.events,
      ...(settings.sliceTimeoutMs === undefined ? {} : { timeoutMs: settings.sliceTimeoutMs }),
      ...(splits ? { splits } : { sources: sources!, items: items! }),
    } satisfies Job;
    if (this.#options.lane === "bulk") this.#turn = await this.#turns.next(this.#turn);
    await this.#jobs.add("slice", JobSchema.parse(job), {
      jobId: jobId(run, slice),
      // Interactive slices are few and small: first come, first served.
      ...(this.#options.lane === "bulk" ? { priority: this.#turn } : {}),
      ...jobRetries(this.#options.retries),
    });
  }

  /** Backpressure is the run's own: the queue's depth would let the biggest run starve the others. Redis's memory is everybody's. */
  async #roomFor(planned: number, slice: Slice, changes: RunChanges, signal: AbortSignal): Promise<void> {
    const bytes = slice.items ? Buffer.byteLength(JSON.stringify(slice.items)) : 0;
    const { room } = this.#options;
    if (this.#outstanding.fits(planned, bytes) && !(await room.take(() => this.#share.isOver(), signal))) {
      this.#outstanding.add(bytes);
      return;
    }
    // Room may never come for one that could not be queued.
    await this.#adding;
    const { run } = this.#runFile;
    const patience = room.patience();
    let done = -1;
    await changes.until(async () => {
      const progress = await this.#ledger.progress(run);
      if (!progress) throw lost(run);
      // Who watches the run ends this.
      if (isEnded(progress.state)) return false;
      if (done !== progress.committed + progress.failed) patience.renew();
      done = progress.committed + progress.failed;
      this.#outstanding.left(planned - done);
      if (!this.#outstanding.fits(planned - done, bytes)) return false;
      if (!(await this.#share.isOver())) return true;
      if (patience.isOver) throw redisFull(patience.ms);
      return false;
    }, signal);
    this.#outstanding.add(bytes);
  }
}

function nothingToLabel({ read, sample }: RunFile["spec"]): LabelmillError {
  const isChosen = (read.where?.length ?? 0) > 0 || sample !== undefined;
  const what = isChosen ? "no record of the inputs is chosen by --where and --sample" : "the inputs hold no record";
  return new LabelmillError("INPUT_EMPTY", `${what}: nothing to label`);
}

function lost(run: string): LabelmillError {
  return new LabelmillError("RUN_UNKNOWN", `Redis lost the run ${run}`, { retryable: true });
}
