import type { Redis } from "ioredis";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { Receipt } from "../../schemas/manifest.ts";
import { KEY_PREFIX, runChannel, STOPPED_CHANNEL } from "../../schemas/names.ts";
import { type RunState, RunStateSchema } from "../../schemas/run.ts";
import { promoteParked } from "../queues/paused-slices.ts";
import { isEnded, statesBefore } from "../state.ts";
import { encodeReceipt } from "./codec.ts";
import { RETIRED_RUN_SECONDS, runKeys } from "./keys.ts";
import { planSlices, readPassedOver, type SlicePlan } from "./plan.ts";
import { countsOf, type Progress, progressOf, type RunAbout, type RunOverview } from "./progress.ts";
import { pairsOf, ScriptClient } from "./script-client.ts";
import { MAX_FIRST_ERRORS } from "./scripts.ts";
import { readSlices, type SliceRecord } from "./slices.ts";

/** The runs that Redis knows, by the time of their first start. */
const RUNS_KEY = `${KEY_PREFIX}:runs`;

/** What the commit of a slice adds to its run. */
export type Committed = { receipt: Receipt; labels: Record<string, number>; errorCodes: Record<string, number> };

/** The devices that a model ran on, and why each was chosen. */
export type Devices = Readonly<Record<string, string>>;

/** A row in error. */
export type RowError = { uri: string; record: number; code: string; message: string };

/** How a slice was labeled: the devices, their time in ms, and the first rows in error. */
export type Labeling = { devices?: Devices; inferMs?: number; firstErrors?: readonly RowError[] };

/** The state of a run when planning begins: the place at which planning continues, and whether the plan is complete. */
export type Begun<P> = { isNew: boolean; next?: P; planned: boolean };

/**
 * The result of a commit or a failure. `committed`, `again`: the slice is done. `failed`: it has failed permanently. `unknown`: Redis does not
 * know the run. `unplanned`: the slice is not in the plan. `complete`: every slice of the run has ended, and the run can be closed.
 */
export type SliceEnd = { outcome: "committed" | "again" | "failed" | "unknown" | "unplanned"; complete: boolean };

/** The state of running runs in Redis: the plan and the end of each slice, and counters. The store is the record of finished work. */
export class RunLedger {
  readonly #redis: Redis;
  readonly #scripts: ScriptClient;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#scripts = new ScriptClient(redis);
  }

  /** Makes a run known to Redis, in the state `planning`. A run that failed or was cancelled returns to `planning`. */
  async submit(run: string, output: string): Promise<void> {
    const now = new Date();
    await this.#redis.zadd(RUNS_KEY, "NX", now.getTime(), run);
    if ((await this.#scripts.call("labelmillSubmit", run, { time: now.toISOString(), output })) === 1) return;
    await this.#transition(run, "planning", statesBefore("planning").filter(isEnded));
  }

  /**
   * Opens a run for planning. Committed slices stay committed; slices that failed permanently can be committed again. A paused run stays
   * paused.
   * @param maxErrors rows in error that the run may have: a count, or a percentage (`5%`) that applies from 1,000 rows on and at the end
   */
  async begin<P>(
    run: string,
    { output, model, lane }: RunAbout,
    { maxErrors = "" }: { maxErrors?: string | undefined } = {},
  ): Promise<Begun<P>> {
    const now = new Date();
    // Listed first: an entry without a run is harmless, a run without an entry would not be listed.
    await this.#redis.zadd(RUNS_KEY, "NX", now.getTime(), run);
    const about = { output, model: model.id, digest: model.digest, lane, maxErrors };
    const found = await this.#scripts.call("labelmillBegin", run, { time: now.toISOString(), ...about });
    const [before, planDone, next] = found as (string | null)[];
    return { isNew: before === null, planned: planDone === "1", ...(next ? { next: JSON.parse(next) as P } : {}) };
  }

  /**
   * Notes the content of slices before they are queued: the planner counts the input, not the worker that writes the rows.
   * @param next the place at which planning continues after these slices
   * @returns the run's state; undefined if Redis no longer knows the run
   */
  plan(run: string, slices: readonly SlicePlan[], itemsSoFar: number, next?: object): Promise<RunState | undefined> {
    return planSlices(this.#redis, run, slices, itemsSoFar, next);
  }

  /** Marks the plan as complete. @returns whether all slices have ended already */
  async planDone(run: string, totals: { slices: number; items: number }): Promise<boolean> {
    const args = { slices: String(totals.slices), items: String(totals.items) };
    const end = await this.#ended(run, await this.#scripts.call("labelmillPlanDone", run, args));
    return end.complete;
  }

  /** Commits a slice, once. If its run then has too many rows in error, the run fails. */
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

  /** The first committed rows in error, at most 10. */
  async firstErrors(run: string): Promise<RowError[]> {
    const found = await this.#redis.lrange(runKeys(run).firstErrors, 0, MAX_FIRST_ERRORS - 1);
    return found.map((error) => JSON.parse(error));
  }

  /** The number of slices in the plan until now. */
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

  /** @returns undefined if Redis does not know the run */
  async state(run: string): Promise<RunState | undefined> {
    const state = await this.#redis.hget(runKeys(run).run, "state");
    return state === null ? undefined : RunStateSchema.parse(state);
  }

  /** The state of the run, undefined if Redis does not know it. `plan`: the slice is planned, may still be planned, or is not in the plan. */
  async sliceStatus(
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

  /** Cancels a run. Committed slices stay, the others are dropped. @returns false if the run has ended already */
  async cancel(run: string): Promise<boolean> {
    if (!(await this.transition(run, "cancelled"))) return false;
    await this.#stopped(run);
    return true;
  }

  /** Pauses a run: running slices finish, no others start. @returns false if the run is not planning, running or paused */
  async pause(run: string): Promise<boolean> {
    if (!(await this.transition(run, "paused"))) return false;
    await this.announce(run);
    return true;
  }

  /** Resumes a paused run. @returns false if the run is not paused */
  async resume(run: string): Promise<boolean> {
    if ((await this.#scripts.call("labelmillResume", run, {})) !== 1) return false;
    await this.announce(run);
    await this.promote(run);
    return true;
  }

  /** Moves the slices that workers parked while the run was paused back into its queue. */
  async promote(run: string): Promise<void> {
    const progress = await this.progress(run);
    if (progress) await promoteParked(this.#redis, run, progress, this.slices(run, await this.plannedSlices(run)));
  }

  /** Marks a run as failed as a whole. @param reason the code, `: ` and the message */
  async failRun(run: string, reason: string): Promise<void> {
    if (!(await this.#transition(run, "failed", statesBefore("failed"), reason))) return;
    await this.#stopped(run);
  }

  /** Notifies the watchers of a run that its state has changed. */
  async announce(run: string): Promise<void> {
    await this.#redis.publish(runChannel(run), "");
  }

  /** @returns undefined if Redis does not know the run */
  async progress(run: string): Promise<Progress | undefined> {
    const found = await this.#redis.hgetall(runKeys(run).run);
    return found.state === undefined ? undefined : progressOf(found);
  }

  /** @returns undefined if Redis does not know the run */
  async overview(run: string): Promise<RunOverview | undefined> {
    const [found, now] = await Promise.all([this.#redis.hgetall(runKeys(run).run), this.#redis.time()]);
    if (found.state === undefined) return undefined;
    const progress = progressOf(found);
    const until = isEnded(progress.state) ? Number(found.changedAt) : Number(now[0]);
    const seconds = Math.max(1, until - Number(found.begunAt));
    const rowsPerSecond = (progress.rows - Number(found.begunRows)) / seconds;
    return { run, createdAt: found.createdAt!, rowsPerSecond, ...progress };
  }

  /** The runs that Redis knows, the newest first. */
  async runs(limit: number): Promise<RunOverview[]> {
    const ids = await this.#redis.zrevrange(RUNS_KEY, 0, limit - 1);
    const all = await Promise.all(ids.map((run) => this.overview(run)));
    const forgotten = ids.filter((_, i) => all[i] === undefined);
    if (forgotten.length > 0) await this.#redis.zrem(RUNS_KEY, ...forgotten);
    return all.filter((run) => run !== undefined);
  }

  /** The number of rows by label, and of rows in error by code. */
  async counts(run: string): Promise<{ labels: Record<string, number>; errorCodes: Record<string, number> }> {
    const [labels, errorCodes] = await Promise.all([
      this.#redis.hgetall(runKeys(run).labels),
      this.#redis.hgetall(runKeys(run).codes),
    ]);
    return { labels: countsOf(labels), errorCodes: countsOf(errorCodes) };
  }

  /** What was skipped in the inputs while they were planned. */
  passedOver(run: string): Promise<PassedOverReport> {
    return readPassedOver(this.#redis, run);
  }

  /** The devices that slices were labeled on, as far as workers reported them. */
  async devices(run: string): Promise<Devices> {
    return this.#redis.hgetall(runKeys(run).devices);
  }

  /** The slices of a run with their plan and their end, in order, from `first` to below `count`. */
  slices(run: string, count: number, chunk = 500, first = 0): AsyncGenerator<SliceRecord> {
    return readSlices(this.#redis, run, count, chunk, first);
  }

  /** Lets Redis delete the state of an ended run after a day. Until then, late workers still find it; the store keeps the record. */
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

  /** Notifies workers and watchers that a run has stopped. */
  async #stopped(run: string): Promise<void> {
    await this.#redis.publish(STOPPED_CHANNEL, run);
    await this.announce(run);
    await this.retire(run);
  }
}
