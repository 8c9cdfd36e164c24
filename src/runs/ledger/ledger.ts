import type { Redis } from "ioredis";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { Receipt } from "../../schemas/manifest.ts";
import { KEY_PREFIX, runChannel, STOPPED_CHANNEL } from "../../schemas/names.ts";
import { type RunState, RunStateSchema } from "../../schemas/run.ts";
import { promoteParked } from "../queues/parking.ts";
import { isEnded, statesBefore } from "../state.ts";
import { encodeReceipt } from "./codec.ts";
import { RETIRED_RUN_SECONDS, runKeys } from "./keys.ts";
import { planSlices, readPassedOver, type SlicePlan } from "./plan.ts";
import { countsOf, type Progress, progressOf, type RunAbout, type RunOverview } from "./progress.ts";
import { pairsOf, ScriptClient } from "./script-client.ts";
import { MAX_FIRST_ERRORS } from "./scripts.ts";
import { readSlices, type SliceRecord } from "./slices.ts";

/** The runs that Redis knows, by the time at which they were first begun. */
const RUNS_KEY = `${KEY_PREFIX}:runs`;

/** What a committed slice adds to its run. */
export type Committed = { receipt: Receipt; labels: Record<string, number>; errorCodes: Record<string, number> };

/** Where a model ran, and why there. */
export type Devices = Readonly<Record<string, string>>;

/** A row in error. */
export type RowError = { uri: string; record: number; code: string; message: string };

/** What is known of a slice's labeling beside its part: where, how many ms it kept devices busy, and the first of its rows in error. */
export type Labeling = { devices?: Devices; inferMs?: number; firstErrors?: readonly RowError[] };

/** How a run was found when it was begun: the place up to which it was planned, as that was noted, and whether that was all of it. */
export type Begun<P> = { isNew: boolean; next?: P; planned: boolean };

/** `committed` and `again`: the slice is done. `failed`: it failed for good before. `complete`: no slice of the run is open. */
export type SliceEnd = { outcome: "committed" | "again" | "failed" | "unknown" | "unplanned"; complete: boolean };

/** What Redis holds of runs under way: per slice its planned ranges and its end, per run counters. The store is the record of what is done. */
export class RunLedger {
  readonly #redis: Redis;
  readonly #scripts: ScriptClient;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#scripts = new ScriptClient(redis);
  }

  /** The run is to be planned: one that Redis does not know is known from here on, one that failed or was left is taken up again. */
  async submit(run: string, output: string): Promise<void> {
    const now = new Date();
    await this.#redis.zadd(RUNS_KEY, "NX", now.getTime(), run);
    if ((await this.#scripts.call("labelmillSubmit", run, { time: now.toISOString(), output })) === 1) return;
    await this.#transition(run, "planning", statesBefore("planning").filter(isEnded));
  }

  /**
   * Opens the run for planning; slices that are committed stay so, slices that failed for good get another chance. One that is paused
   * stays so.
   * @param maxErrors rows in error that it may have: a count, or a share (`5%`), looked at from 1,000 rows on and at the end
   */
  async begin<P>(
    run: string,
    { output, model, lane }: RunAbout,
    { maxErrors = "" }: { maxErrors?: string | undefined } = {},
  ): Promise<Begun<P>> {
    const now = new Date();
    // First: listed without being there it does no harm, there without being listed it would be overlooked.
    await this.#redis.zadd(RUNS_KEY, "NX", now.getTime(), run);
    const about = { output, model: model.id, digest: model.digest, lane, maxErrors };
    const found = await this.#scripts.call("labelmillBegin", run, { time: now.toISOString(), ...about });
    const [before, planDone, next] = found as (string | null)[];
    return { isNew: before === null, planned: planDone === "1", ...(next ? { next: JSON.parse(next) as P } : {}) };
  }

  /**
   * Notes what slices hold, before they are queued: the count of what is in is the planner's, not the writer's.
   * @param next where planning goes on after them
   * @returns the run's state; undefined where Redis does not know the run any more
   */
  plan(run: string, slices: readonly SlicePlan[], itemsSoFar: number, next?: object): Promise<RunState | undefined> {
    return planSlices(this.#redis, run, slices, itemsSoFar, next);
  }

  /** All slices are planned. True: all of them have ended already. */
  async planDone(run: string, totals: { slices: number; items: number }): Promise<boolean> {
    const args = { slices: String(totals.slices), items: String(totals.items) };
    const end = await this.#ended(run, await this.#scripts.call("labelmillPlanDone", run, args));
    return end.complete;
  }

  /** Counts a slice, once. Where its run has too many rows in error by it, the run has failed. */
  async commit(
    run: string,
    slice: number,
    { receipt, labels, errorCodes }: Committed,
    { devices = {}, inferMs = 0, firstErrors = [] }: Labeling = {},
  ): Promise<SliceEnd> {
    const answer = await this.#scripts.call("labelmillCommit", run, {
      slice: String(slice),
      receipt: encodeReceipt(receipt),
      rows: String(receipt.rows),
      errors: String(receipt.errors),
      bytes: String(receipt.bytes),
      inferMs: inferMs.toFixed(3),
      devices: pairsOf(devices),
      labels: pairsOf(labels),
      codes: pairsOf(errorCodes),
      firstErrors: firstErrors.slice(0, MAX_FIRST_ERRORS).map((error) => JSON.stringify(error)),
    });
    return this.#ended(run, answer);
  }

  /** The first rows in error that were committed, at most ten. */
  async firstErrors(run: string): Promise<RowError[]> {
    const found = await this.#redis.lrange(runKeys(run).firstErrors, 0, MAX_FIRST_ERRORS - 1);
    return found.map((error) => JSON.parse(error));
  }

  /** Slices in the plan so far. */
  async plannedSlices(run: string): Promise<number> {
    return this.#redis.hlen(runKeys(run).plan);
  }

  async isCommitted(run: string, slice: number): Promise<boolean> {
    return (await this.#redis.hexists(runKeys(run).receipts, String(slice))) === 1;
  }

  async fail(run: string, slice: number, reason: { code: string; message: string }): Promise<SliceEnd> {
    const args = { slice: String(slice), failure: JSON.stringify(reason), code: reason.code, message: reason.message };
    return this.#ended(run, await this.#scripts.call("labelmillFail", run, args));
  }

  async transition(run: string, to: RunState): Promise<boolean> {
    return this.#transition(run, to, statesBefore(to));
  }

  /** @returns undefined where Redis knows no such run */
  async state(run: string): Promise<RunState | undefined> {
    const state = await this.#redis.hget(runKeys(run).run, "state");
    return state === null ? undefined : RunStateSchema.parse(state);
  }

  /** The run's state, undefined where Redis does not know the run; whether the slice is in its plan, or may come into it yet. */
  async look(
    run: string,
    slice: number,
  ): Promise<{ state: RunState | undefined; plan: "planned" | "open" | "unplanned" }> {
    const keys = runKeys(run);
    const [[found, planDone], planned] = await Promise.all([
      this.#redis.hmget(keys.run, "state", "planDone"),
      this.#redis.hexists(keys.plan, String(slice)),
    ]);
    const state = RunStateSchema.optional().parse(found ?? undefined);
    return { state, plan: planned === 1 ? "planned" : state && planDone !== "1" ? "open" : "unplanned" };
  }

  /** Ends a run that is under way: what is committed stays, the rest is not done. @returns false where it is not under way */
  async cancel(run: string): Promise<boolean> {
    if (!(await this.transition(run, "cancelled"))) return false;
    await this.#stopped(run);
    return true;
  }

  /** Slices under way are finished, no others begun. @returns false where the run is not being planned or done */
  async pause(run: string): Promise<boolean> {
    if (!(await this.transition(run, "paused"))) return false;
    await this.announce(run);
    return true;
  }

  /** A paused run goes on. @returns false where it is not paused */
  async resume(run: string): Promise<boolean> {
    if ((await this.#scripts.call("labelmillResume", run, {})) !== 1) return false;
    await this.announce(run);
    await this.promote(run);
    return true;
  }

  /** Puts the slices that workers parked while the run was paused back into its queue. */
  async promote(run: string): Promise<void> {
    const progress = await this.progress(run);
    if (progress) await promoteParked(this.#redis, run, progress, this.slices(run, await this.plannedSlices(run)));
  }

  /** The run cannot go on, for a reason of its own (the code, `: ` and the message): it failed. */
  async failRun(run: string, reason: string): Promise<void> {
    if (!(await this.#transition(run, "failed", statesBefore("failed"), reason))) return;
    await this.#stopped(run);
  }

  /** Tells the run's watchers to look again. */
  async announce(run: string): Promise<void> {
    await this.#redis.publish(runChannel(run), "");
  }

  /** @returns undefined where Redis knows no such run */
  async progress(run: string): Promise<Progress | undefined> {
    const found = await this.#redis.hgetall(runKeys(run).run);
    return found.state === undefined ? undefined : progressOf(found);
  }

  /** @returns undefined where Redis knows no such run */
  async overview(run: string): Promise<RunOverview | undefined> {
    const [found, now] = await Promise.all([this.#redis.hgetall(runKeys(run).run), this.#redis.time()]);
    if (found.state === undefined) return undefined;
    const progress = progressOf(found);
    const until = isEnded(progress.state) ? Number(found.changedAt) : Number(now[0]);
    const seconds = Math.max(1, until - Number(found.begunAt));
    const rowsPerSecond = (progress.rows - Number(found.begunRows)) / seconds;
    return { run, createdAt: found.createdAt!, rowsPerSecond, ...progress };
  }

  /** The runs that Redis knows, the latest first. */
  async runs(limit: number): Promise<RunOverview[]> {
    const ids = await this.#redis.zrevrange(RUNS_KEY, 0, limit - 1);
    const all = await Promise.all(ids.map((run) => this.overview(run)));
    const forgotten = ids.filter((_, i) => all[i] === undefined);
    if (forgotten.length > 0) await this.#redis.zrem(RUNS_KEY, ...forgotten);
    return all.filter((run) => run !== undefined);
  }

  /** Rows by label, and rows in error by code. */
  async counts(run: string): Promise<{ labels: Record<string, number>; errorCodes: Record<string, number> }> {
    const [labels, errorCodes] = await Promise.all([
      this.#redis.hgetall(runKeys(run).labels),
      this.#redis.hgetall(runKeys(run).codes),
    ]);
    return { labels: countsOf(labels), errorCodes: countsOf(errorCodes) };
  }

  /** What was passed over in the inputs while they were planned. */
  passedOver(run: string): Promise<PassedOverReport> {
    return readPassedOver(this.#redis, run);
  }

  /** Where the slices were labeled, as far as that is known. */
  async devices(run: string): Promise<Devices> {
    return this.#redis.hgetall(runKeys(run).devices);
  }

  /** The plan and what became of it, slice by slice in order, from `first` on. */
  slices(run: string, count: number, chunk = 500, first = 0): AsyncGenerator<SliceRecord> {
    return readSlices(this.#redis, run, count, chunk, first);
  }

  /** The run is over and its record is the store's: Redis forgets it after a day, in which late workers still find it. */
  async retire(run: string): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const key of Object.values(runKeys(run))) pipeline.expire(key, RETIRED_RUN_SECONDS);
    await pipeline.exec();
  }

  async #transition(run: string, state: RunState, from: RunState[], reason = ""): Promise<boolean> {
    return (await this.#scripts.call("labelmillTransition", run, { state, reason, from })) === 1;
  }

  async #ended(run: string, answer: unknown): Promise<SliceEnd> {
    const [outcome, complete, stopped] = answer as [SliceEnd["outcome"], number, number];
    if (stopped === 1) await this.#stopped(run);
    return { outcome, complete: complete === 1 };
  }

  /** Nobody is to work on the run any more. */
  async #stopped(run: string): Promise<void> {
    await this.#redis.publish(STOPPED_CHANNEL, run);
    await this.announce(run);
    await this.retire(run);
  }
}
