import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { LabelmillError } from "../../errors.ts";
import { splitsOf } from "../../runs/ledger/codec.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import { sliceJobName } from "../../runs/queues/backlog.ts";
import { Turns } from "../../runs/queues/fair-turns.ts";
import { FinalizerQueue } from "../../runs/queues/finalizer-queue.ts";
import { jobRetries, type Retries } from "../../runs/queues/job-retries.ts";
import { jobStates, openQueue } from "../../runs/queues/queue.ts";
import { isEnded } from "../../runs/state.ts";
import type { RunChanges } from "../../runs/watch.ts";
import { type Job, JobSchema } from "../../schemas/job.ts";
import { JOB_VERSION, jobId, type Lane, partKey, queueName, SERVED_JOB_VERSIONS } from "../../schemas/names.ts";
import { isCompacted } from "../../schemas/output.ts";
import type { RunFile } from "../../schemas/run.ts";
import type { Place, Slice } from "../../sources/slices.ts";
import { RedisMemory } from "./redis-memory.ts";
import { type RedisRoom, redisFull } from "./redis-room.ts";
import { SliceWindow } from "./slice-window.ts";

export type PlannerOptions = {
  lane: Lane;
  /** Maximum slices of this run that are queued or active. */
  windowSlices: number;
  retries: Retries;
  /** Waits while Redis is out of memory. */
  room: RedisRoom;
  /** The share of Redis's `maxmemory`, from 0 to 1, above which nothing is queued. Default: 0.8. */
  redisShare?: number;
};

const DEFAULT_REDIS_SHARE = 0.8;

/** The states of a job that no worker will take. */
const NO_JOB = new Set<string>(["unknown", "failed", "completed"]);

/** The slices of a run, from the first one or from a place on. An implementation may ignore the place and yield all slices. */
export type SlicesFrom = (from?: Place) => AsyncIterable<Slice>;

type Content = Pick<Slice, "sources" | "items" | "splits">;

/** Queues the slices of one run while there is room, and finds slices whose jobs are lost. */
export class Planner {
  readonly #ledger: RunLedger;
  readonly #runFile: RunFile;
  readonly #output: string;
  readonly #options: PlannerOptions;
  readonly #jobs: Queue;
  /** The queues with the slices that a planner of an older version queued. */
  readonly #olderJobs: Queue[];
  readonly #finalizer: FinalizerQueue;
  readonly #turns: Turns;
  readonly #memory: RedisMemory;
  readonly #window: SliceWindow;
  /** The run is open in Redis: from now on, its state there belongs to this planner and not to an earlier one. */
  begun = false;
  /** The turn of the last queued slice. */
  #turn = 0;
  /** A slice is queued while the next one is read and noted. Otherwise a planner of small slices would mostly wait for Redis. */
  #adding = Promise.resolve();

  constructor(redis: Redis, ledger: RunLedger, runFile: RunFile, output: string, options: PlannerOptions) {
    this.#ledger = ledger;
    this.#runFile = runFile;
    this.#output = output;
    this.#options = options;
    this.#jobs = openQueue(redis, queueName(runFile.spec.model, options.lane));
    this.#olderJobs = SERVED_JOB_VERSIONS.slice(1).map((version) =>
      openQueue(redis, queueName(runFile.spec.model, options.lane, version)),
    );
    this.#turns = new Turns(redis, this.#jobs.name);
    this.#memory = new RedisMemory(redis, options.redisShare ?? DEFAULT_REDIS_SHARE);
    this.#window = new SliceWindow(options.windowSlices);
    this.#finalizer = new FinalizerQueue(redis, options.retries);
  }

  /**
   * Plans the whole run. Each slice is noted in the ledger, with the place of the next one, and then queued. Waits while the run's
   * window is full or the run is paused. If the run was planned in part, the slices that are in no queue are queued again, and planning
   * continues at the noted place.
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
      await this.#waitForRoom(count, slice, changes, signal);
      count += 1;
      items += slice.count;
      const state = await room.take(() => this.#ledger.plan(run, [slice], items, slice.next), signal);
      if (!state) throw lost(run);
      if (state === "paused") await changes.until(async () => (await this.#ledger.state(run)) !== "paused", signal);
      await this.#adding;
      this.#adding = room.take(() => this.#add(slice.slice, slice), signal);
      // The next wait reports its failure, unless something else fails first.
      this.#adding.catch(() => {});
    }
    await this.#adding;
    if (count === 0) throw nothingToLabel(spec);
    if (await this.#ledger.planDone(run, { slices: count, items })) await this.addFinalizer(signal);
  }

  /** Queues the finalizer of a run whose slices have all ended. */
  async addFinalizer(signal: AbortSignal): Promise<void> {
    await this.#options.room.take(() => this.#finalizer.add(this.#runFile.run, this.#output), signal);
  }

  /**
   * Slices that are planned and unfinished but in no queue: their jobs are lost, or failed without a note in the ledger. A slice that is
   * being queued at this moment may be included; a slice that is queued twice is still labeled once.
   * @returns by slice number: the splits, or undefined for a slice whose items travel in its job
   */
  async lostSlices(signal: AbortSignal): Promise<Map<number, Content | undefined>> {
    const { run } = this.#runFile;
    const lost = new Map<number, Content | undefined>();
    for await (const record of this.#ledger.slices(run, await this.#ledger.plannedSlices(run))) {
      if (record.receipt || record.failed) continue;
      // Without `take`, BullMQ would wait here until a lost connection is back.
      const id = jobId(run, record.slice);
      const states = await this.#options.room.take(() => jobStates([this.#jobs, ...this.#olderJobs], id), signal);
      if (states.some((state) => !NO_JOB.has(state))) continue;
      const splits = splitsOf(record, this.#runFile);
      lost.set(record.slice, splits && { splits });
    }
    return lost;
  }

  /** Queues lost slices again. Slices without splits are searched for among all slices of the run. */
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
    await Promise.all([this.#jobs, ...this.#olderJobs].map((queue) => queue.close()));
    await this.#finalizer.close();
  }

  /** Removes the job first: an earlier try may have left it, and BullMQ ignores a job with an id that exists. */
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
    await this.#jobs.add(sliceJobName(job), JobSchema.parse(job), {
      jobId: jobId(run, slice),
      // Interactive slices are few and small: they run in the order of arrival.
      ...(this.#options.lane === "bulk" ? { priority: this.#turn } : {}),
      ...jobRetries(this.#options.retries),
    });
  }

  /**
   * Waits until one more slice may be queued. The limit is per run: a limit on the queue's depth would let the biggest run starve the
   * others. The limit on Redis's memory is common to all runs.
   */
  async #waitForRoom(planned: number, slice: Slice, changes: RunChanges, signal: AbortSignal): Promise<void> {
    const bytes = slice.items ? Buffer.byteLength(JSON.stringify(slice.items)) : 0;
    const { room } = this.#options;
    if (this.#window.fits(planned, bytes) && !(await room.take(() => this.#memory.isAboveShare(), signal))) {
      this.#window.add(bytes);
      return;
    }
    // If the slice before could not be queued, waiting would never end.
    await this.#adding;
    const { run } = this.#runFile;
    const limit = room.waitLimit();
    let done = -1;
    await changes.until(async () => {
      const progress = await this.#ledger.progress(run);
      if (!progress) throw lost(run);
      // The watcher of the run ends this wait.
      if (isEnded(progress.state)) return false;
      if (done !== progress.committed + progress.failed) limit.restart();
      done = progress.committed + progress.failed;
      this.#window.shrinkTo(planned - done);
      if (!this.#window.fits(planned - done, bytes)) return false;
      if (!(await this.#memory.isAboveShare())) return true;
      if (limit.isOver) throw redisFull(limit.ms);
      return false;
    }, signal);
    this.#window.add(bytes);
  }
}

function nothingToLabel({ read, sample }: RunFile["spec"]): LabelmillError {
  const isChosen = (read.where?.length ?? 0) > 0 || sample !== undefined;
  const what = isChosen ? "no record of the inputs matches --where and --sample" : "the inputs have no records";
  return new LabelmillError("INPUT_EMPTY", `${what}: nothing to label`);
}

function lost(run: string): LabelmillError {
  return new LabelmillError("RUN_UNKNOWN", `Redis lost the run ${run}`, { retryable: true });
}
