import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import type { Range, Receipt } from "../schemas/manifest.ts";
import { CANCELLED_CHANNEL, KEY_PREFIX, LANES, type Lane, runChannel } from "../schemas/names.ts";
import { type RunState, RunStateSchema } from "../schemas/run.ts";
import { RUN_SCRIPTS } from "./scripts.ts";
import { isEnded, statesBefore } from "./state.ts";

const RETIRED_RUN_SECONDS = 24 * 3600;

/** The runs that Redis knows, by the time at which they were first begun. */
const RUNS_KEY = `${KEY_PREFIX}:runs`;

/** What a run is, beside its plan: where it writes, and the queue that its slices are on. */
export type RunAbout = { output: string; model: { id: string; digest: string }; lane: Lane };

/** What a committed slice adds to its run. */
export type Committed = { receipt: Receipt; labels: Record<string, number>; errorCodes: Record<string, number> };

/** Where a model ran, and why there. */
export type Devices = Readonly<Record<string, string>>;

/** `committed` and `again`: the slice is done. `failed`: it failed for good before. `complete`: no slice of the run is open. */
export type SliceEnd = { outcome: "committed" | "again" | "failed" | "unknown" | "unplanned"; complete: boolean };

export type Progress = RunAbout & {
  state: RunState;
  /** Slices planned in all; undefined until the planner is through. */
  slices: number | undefined;
  /** Items planned so far. */
  items: number;
  committed: number;
  failed: number;
  rows: number;
  errors: number;
  bytes: number;
  /** Why the run could not be closed. */
  reason?: string;
};

/** How a run goes: its progress, and its rows a second since it was last begun (to its end, if it has ended). */
export type RunOverview = Progress & { run: string; createdAt: string; rowsPerSecond: number };

export type SliceRecord = {
  slice: number;
  planned: Range[];
  receipt?: Receipt;
  failed?: { code: string; message: string };
};

type Scripted = Record<keyof typeof RUN_SCRIPTS, (keys: number, ...args: (string | number)[]) => Promise<unknown>>;

/** What Redis holds of runs under way: per slice its planned ranges and its end, per run counters. The store is the record of what is done. */
export class RunLedger {
  readonly #redis: Redis;
  readonly #scripts: Scripted;

  constructor(redis: Redis) {
    this.#redis = redis;
    for (const [name, lua] of Object.entries(RUN_SCRIPTS)) redis.defineCommand(name, { lua });
    this.#scripts = redis as unknown as Scripted;
  }

  /**
   * Opens the run for planning; slices that are committed stay so, slices that failed for good get another chance.
   * @returns whether Redis knew nothing of the run
   */
  async begin(run: string, { output, model, lane }: RunAbout): Promise<boolean> {
    const now = new Date();
    // First: listed without being there it does no harm, there without being listed it would be overlooked.
    await this.#redis.zadd(RUNS_KEY, "NX", now.getTime(), run);
    return (await this.#call("labelmillBegin", run, now.toISOString(), output, model.id, model.digest, lane)) === null;
  }

  /** Notes what slices hold, before they are queued: the count of what is in is the planner's, not the writer's. */
  async plan(run: string, slices: readonly { slice: number; ranges: Range[] }[], itemsSoFar: number): Promise<void> {
    const fields = slices.flatMap(({ slice, ranges }) => [
      String(slice),
      JSON.stringify(ranges.map(({ input, first, count }) => [input, first, count])),
    ]);
    await this.#redis
      .multi()
      .hset(runKeys(run)[1]!, ...fields)
      .hset(runKeys(run)[0]!, "items", itemsSoFar)
      .exec();
  }

  /** All slices are planned. True: all of them have ended already. */
  async planDone(run: string, totals: { slices: number; items: number }): Promise<boolean> {
    return (await this.#call("labelmillPlanDone", run, totals.slices, totals.items)) === 1;
  }

  /** @param devices where the slice was labeled; none: by somebody else, who did not live to commit it */
  async commit(
    run: string,
    slice: number,
    { receipt, labels, errorCodes }: Committed,
    devices: Devices = {},
  ): Promise<SliceEnd> {
    const entries = [...Object.entries(devices), ...Object.entries(labels), ...Object.entries(errorCodes)].flat();
    return sliceEnd(
      await this.#call(
        "labelmillCommit",
        run,
        slice,
        encodeReceipt(receipt),
        receipt.rows,
        receipt.errors,
        receipt.bytes,
        Object.keys(devices).length,
        Object.keys(labels).length,
        ...entries,
      ),
    );
  }

  /** Slices in the plan so far. */
  async plannedSlices(run: string): Promise<number> {
    return this.#redis.hlen(runKeys(run)[1]!);
  }

  async isCommitted(run: string, slice: number): Promise<boolean> {
    return (await this.#redis.hexists(runKeys(run)[2]!, String(slice))) === 1;
  }

  async fail(run: string, slice: number, reason: { code: string; message: string }): Promise<SliceEnd> {
    return sliceEnd(await this.#call("labelmillFail", run, slice, JSON.stringify(reason)));
  }

  async transition(run: string, to: RunState): Promise<boolean> {
    return (await this.#call("labelmillTransition", run, to, ...statesBefore(to))) === 1;
  }

  async isCancelled(run: string): Promise<boolean> {
    return (await this.#redis.hget(runKeys(run)[0]!, "state")) === "cancelled";
  }

  /** Ends a run that is under way: what is committed stays, the rest is not done. @returns false where it is not under way */
  async cancel(run: string): Promise<boolean> {
    if (!(await this.transition(run, "cancelled"))) return false;
    await this.#redis.publish(CANCELLED_CHANNEL, run);
    await this.announce(run);
    await this.retire(run);
    return true;
  }

  /** The run's files could not be written: it failed, for a reason of its own. */
  async failClosing(run: string, reason: string): Promise<void> {
    if (!(await this.transition(run, "failed"))) return;
    await this.#redis.hset(runKeys(run)[0]!, "reason", reason);
    await this.announce(run);
  }

  /** Tells the run's watchers to look again. */
  async announce(run: string): Promise<void> {
    await this.#redis.publish(runChannel(run), "");
  }

  /** @returns undefined where Redis knows no such run */
  async progress(run: string): Promise<Progress | undefined> {
    const found = await this.#redis.hgetall(runKeys(run)[0]!);
    return found.state === undefined ? undefined : progressOf(found);
  }

  /** @returns undefined where Redis knows no such run */
  async overview(run: string): Promise<RunOverview | undefined> {
    const [found, now] = await Promise.all([this.#redis.hgetall(runKeys(run)[0]!), this.#redis.time()]);
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
      this.#redis.hgetall(runKeys(run)[4]!),
      this.#redis.hgetall(runKeys(run)[5]!),
    ]);
    return { labels: numbers(labels), errorCodes: numbers(errorCodes) };
  }

  /** Where the slices were labeled, as far as that is known. */
  async devices(run: string): Promise<Devices> {
    return this.#redis.hgetall(runKeys(run)[6]!);
  }

  /** The plan and what became of it, slice by slice in order, from `first` on. */
  async *slices(run: string, count: number, chunk = 500): AsyncGenerator<SliceRecord> {
    const [, plan, receipts, failed] = runKeys(run) as [string, string, string, string];
    for (let first = 0; first < count; first += chunk) {
      const fields = Array.from({ length: Math.min(chunk, count - first) }, (_, i) => String(first + i));
      const [planned, done, lost] = await Promise.all(
        [plan, receipts, failed].map((key) => this.#redis.hmget(key, ...fields)),
      );
      for (let i = 0; i < fields.length; i++) {
        const ranges = planned![i];
        if (!ranges)
          throw new LabelmillError("INTERNAL", `run ${run}: slice ${first + i} of ${count} is not in the plan`);
        yield {
          slice: first + i,
          planned: (JSON.parse(ranges) as [number, number, number][]).map(([input, from, items]) => ({
            input,
            first: from,
            count: items,
          })),
          ...(done![i] ? { receipt: decodeReceipt(done![i]!) } : {}),
          ...(lost![i] ? { failed: JSON.parse(lost![i]!) } : {}),
        };
      }
    }
  }

  /** The run is over and its record is the store's: Redis forgets it after a day, in which late workers still find it. */
  async retire(run: string): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const key of runKeys(run)) pipeline.expire(key, RETIRED_RUN_SECONDS);
    await pipeline.exec();
  }

  #call(script: keyof Scripted, run: string, ...args: (string | number)[]): Promise<unknown> {
    const keys = runKeys(run);
    return this.#scripts[script](keys.length, ...keys, ...args);
  }
}

function progressOf(found: Record<string, string>): Progress {
  const number = (key: string) => Number(found[key] ?? 0);
  return {
    state: RunStateSchema.parse(found.state),
    output: found.output ?? "",
    model: { id: found.model ?? "", digest: found.digest ?? "" },
    lane: LANES.find((lane) => lane === found.lane) ?? "bulk",
    slices: found.planDone === "1" ? number("slices") : undefined,
    items: number("items"),
    committed: number("committed"),
    failed: number("failed"),
    rows: number("rows"),
    errors: number("errors"),
    bytes: number("bytes"),
    ...(found.reason ? { reason: found.reason } : {}),
  };
}

function runKeys(run: string): string[] {
  const key = `${KEY_PREFIX}:run:${run}`;
  return [key, ...["plan", "receipts", "failed", "labels", "codes", "devices"].map((part) => `${key}:${part}`)];
}

function sliceEnd(answer: unknown): SliceEnd {
  const [outcome, complete] = answer as [SliceEnd["outcome"], number];
  return { outcome, complete: complete === 1 };
}

/** `rows,errors,bytes,sha256` with the hash in base64url: some 55 bytes a slice. */
function encodeReceipt({ rows, errors, bytes, sha256 }: Receipt): string {
  return [rows, errors, bytes, Buffer.from(sha256, "hex").toString("base64url")].join(",");
}

function decodeReceipt(text: string): Receipt {
  const [rows, errors, bytes, hash] = text.split(",");
  return {
    rows: Number(rows),
    errors: Number(errors),
    bytes: Number(bytes),
    sha256: Buffer.from(hash!, "base64url").toString("hex"),
  };
}

function numbers(counts: Record<string, string>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([key, value]) => [key, Number(value)]));
}
