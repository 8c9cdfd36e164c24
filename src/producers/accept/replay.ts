import pLimit from "p-limit";
import { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { readRunFile } from "../../outputs/output.ts";
import { runEndEvent } from "../../outputs/run-end.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { existingJobs, failedReason, type SingleState, singleStates } from "../../runs/queues/job-states.ts";
import { planJobId } from "../../runs/queues/plan-queue.ts";
import type { RunIndex } from "../../runs/run-index.ts";
import { type SingleEnd, SingleEnds } from "../../runs/single-results.ts";
import { isEnded } from "../../runs/state.ts";
import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import type { Job } from "../../schemas/job.ts";
import { jobId, PLANS_QUEUE, SCHEMA_VERSION } from "../../schemas/names.ts";
import type { RedisProducer } from "../client/redis-producer.ts";
import type { Journal } from "./journal.ts";
import type { Replayed } from "./keeper.ts";
import { listAccepted } from "./list-accepted.ts";
import { type PendingRun, pendingOf } from "./pending.ts";
import { deliveryIds, RunDeliveries } from "./run-deliveries.ts";

/** Records read, or settled, at a time. */
const AT_ONCE = 8;
/** Singles whose states are read in one round trip. */
const CHUNK = 200;

export type ReplayDeps = { producer: RedisProducer; journal: Journal; index: RunIndex; log: Logger };

type Single = Extract<PendingRun, { kind: "single" }>;
type Planned = Extract<PendingRun, { kind: "run" }>;

/** Compares the journal with Redis and the store: what Redis lost is queued again, what has ended is removed. */
export class Replay {
  readonly #deps: ReplayDeps;
  readonly #ledger: RunLedger;
  readonly #deliveries: RunDeliveries;
  readonly #pending = new Map<string, PendingRun>();
  /** Records that cannot be read. Each is reported once. */
  readonly #refused = new Set<string>();

  constructor(deps: ReplayDeps) {
    this.#deps = deps;
    this.#ledger = new RunLedger(deps.producer.redis);
    this.#deliveries = new RunDeliveries(deps.producer.redis, deps.journal);
  }

  /** A record was written. */
  add(record: Accepted): void {
    this.#pending.set(record.run, pendingOf(record));
  }

  /** The record was removed. */
  forget(run: string): void {
    this.#pending.delete(run);
  }

  /** A run has ended, or may have. Other servers' runs are not this one's concern before the next replay. */
  async noteEnd(run: string): Promise<void> {
    const found = this.#pending.get(run);
    if (found) await this.#check([found], new AbortController().signal);
  }

  /** A webhook of a run was delivered, or never will be. The last one removes the record. */
  async settleDelivery(run: string, delivery: string): Promise<void> {
    if (await this.#deliveries.settle(run, delivery)) this.forget(run);
  }

  async close(): Promise<void> {
    await this.#deliveries.close();
  }

  /** Reads the whole journal and checks each run that has a record. @throws the error of Redis or of the store; a later call continues */
  async all(signal: AbortSignal): Promise<Replayed> {
    await this.#read(signal);
    const totals = { queued: 0, settled: 0 };
    const pending = [...this.#pending.values()];
    for (let at = 0; at < pending.length; at += CHUNK) {
      signal.throwIfAborted();
      const { queued, settled } = await this.#check(pending.slice(at, at + CHUNK), signal);
      totals.queued += queued;
      totals.settled += settled;
    }
    return totals;
  }

  /** Learns of the records that other servers, or earlier processes, have written and removed. */
  async #read(signal: AbortSignal): Promise<void> {
    const began = performance.now();
    const listed = new Set<string>();
    for await (const run of this.#deps.journal.runs()) listed.add(run);
    for (const { run, since } of [...this.#pending.values()]) if (since < began && !listed.has(run)) this.forget(run);
    const unknown = [...listed].filter((run) => !this.#pending.has(run) && !this.#refused.has(run));
    const limit = pLimit(AT_ONCE);
    await Promise.all(
      unknown.map((run) =>
        limit(async () => {
          signal.throwIfAborted();
          const record = await this.#record(run);
          if (!record) return;
          this.add(record);
          await this.#list(record);
        }),
      ),
    );
  }

  /** @returns undefined if the record does not exist, or is invalid */
  async #record(run: string): Promise<Accepted | undefined> {
    try {
      return await this.#deps.journal.read(run);
    } catch (error) {
      if (!(error instanceof LabelmillError) || error.code !== "OUTPUT_FOREIGN") throw error;
      this.#refused.add(run);
      this.#deps.log.error({ run, err: error }, "record of an accepted submission cannot be read");
      return undefined;
    }
  }

  async #list(record: Accepted): Promise<void> {
    const { index, producer, log } = this.#deps;
    await listAccepted(index, producer, record).catch((error: unknown) =>
      log.warn({ run: record.run, err: error }, "accepted run not listed"),
    );
  }

  async #check(pending: readonly PendingRun[], signal: AbortSignal): Promise<Replayed> {
    const singles = pending.filter((each) => each.kind === "single");
    const runs = pending.filter((each) => each.kind === "run");
    const states = await singleStates(this.#deps.producer.redis, singles);
    const delivered = await this.#deliveries.done(singles);
    const limit = pLimit(AT_ONCE);
    const outcomes = await Promise.all([
      ...singles.map((single, at) =>
        limit(() => this.#checkSingle(single, { ...states[at]!, delivered: delivered.get(single) }, signal)),
      ),
      ...runs.map((run) => limit(() => this.#checkRun(run))),
    ]);
    return {
      queued: outcomes.filter((outcome) => outcome === "queued").length,
      settled: outcomes.filter((outcome) => outcome === "settled").length,
    };
  }

  async #checkSingle(
    { run, queue, deliveries }: Single,
    { job, ended, delivered }: SingleState & { delivered: boolean | undefined },
    signal: AbortSignal,
  ): Promise<keyof Replayed | "pending"> {
    signal.throwIfAborted();
    const { producer, log } = this.#deps;
    if (delivered || (ended && deliveries.length === 0)) return this.#settle(run);
    if (delivered === false) return "pending";
    if (!ended && job === "queued") return "pending";
    const record = await this.#record(run);
    // Another server was faster.
    if (record?.kind !== "single") {
      this.forget(run);
      return "pending";
    }
    const single = { job: record.job, lane: record.lane };
    const end =
      (await producer.endOf(single)) ?? (job === "failed" ? await this.#endFailed(record.job, queue) : undefined);
    // Redis lost the job after its part was written: the worker may have died before it wrote to the objects of the job.
    const mayBeUndelivered = !ended && job !== "failed" && hasObjects(record.job);
    if (end && !mayBeUndelivered)
      return (await this.#deliveries.queue(record, end)) > 0 ? "pending" : this.#settle(run);
    await producer.enqueue(single);
    // Redis has lost the list of runs too.
    await this.#list(record);
    log.info({ run }, "accepted submission queued again: Redis had lost it");
    return "queued";
  }

  /** BullMQ failed the job, and no worker stored the end: it becomes the failure that callers read. */
  async #endFailed({ run, slice, output, key, model: { id, digest } }: Job, queue: string): Promise<SingleEnd> {
    const { redis } = this.#deps.producer;
    const message = (await failedReason(redis, queue, jobId(run, slice))) ?? "its job failed";
    const address = { run, slice, output, part: key, model: { id, digest } };
    const failed = { code: "RUN_FAILED", message };
    const sums = { rows: 0, errors: 0, labels: {} };
    const end: SingleEnd = { v: SCHEMA_VERSION, id: jobId(run, slice), ...address, ...sums, failed };
    await new SingleEnds(redis).set(end);
    return end;
  }

  async #checkRun(pending: Planned): Promise<keyof Replayed | "pending"> {
    const { run, output } = pending;
    const { producer, log } = this.#deps;
    const delivered = (await this.#deliveries.done([pending])).get(pending);
    if (delivered !== undefined) return delivered ? this.#settle(run) : "pending";
    const state = await this.#ledger.state(run);
    if (state && !isEnded(state) && (await existingJobs(producer.redis, PLANS_QUEUE, [planJobId(run)])).size > 0)
      return "pending";
    const ended = state !== undefined && isEnded(state);
    const open = () => producer.openToRead(output);
    // A missing output of a run that has not ended may come back: the next replay looks again.
    const store = ended ? await openIfExists(open) : await open();
    const runFile = store && (await readRunFile(store));
    if (!store || runFile?.run !== run) {
      if (!ended) log.error({ run, output }, "accepted run cannot be planned: its output has no such run");
      return this.#settle(run);
    }
    const event = await runEndEvent(runFile, store, this.#ledger);
    const record = await this.#record(run);
    if (event) {
      const targets = runFile.settings.results ?? [];
      pending.deliveries = deliveryIds(run, targets);
      const left = record ? await this.#deliveries.queueOfRun(record, targets, event) : 0;
      return left > 0 ? "pending" : this.#settle(run);
    }
    await producer.enqueuePlan(run, output);
    if (record) await this.#list(record);
    log.info({ run }, "accepted run queued again: Redis had lost its planning");
    return "queued";
  }

  async #settle(run: string): Promise<"settled"> {
    await this.#deps.journal.remove(run);
    this.forget(run);
    return "settled";
  }
}

function hasObjects({ results = [] }: Job): boolean {
  return results.some(({ to }) => to !== "webhook");
}

/** @returns undefined if the place does not exist */
async function openIfExists<T>(open: () => Promise<T>): Promise<T | undefined> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
    throw error;
  }
}
