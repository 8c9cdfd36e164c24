import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Config } from "../../config.ts";
import { LabelmillError } from "../../errors.ts";
import type { DeviceChoice } from "../../inference/devices/devices.ts";
import type { Model } from "../../inference/model/model.ts";
import type { Logger } from "../../logger.ts";
import { planAndWatch } from "../../producers/planning/plan-and-watch.ts";
import { planFromRunFile } from "../../producers/planning/plan-from-run-file.ts";
import { Planner, type SlicesFrom } from "../../producers/planning/planner.ts";
import { RedisRoom } from "../../producers/planning/redis-room.ts";
import { openRedis, type RedisAddress } from "../../redis/connect.ts";
import { lostRedis, noteLoss, rejectIfClosed } from "../../redis/with-redis.ts";
import { Channels } from "../../runs/channels.ts";
import { type RowError, RunLedger } from "../../runs/ledger/ledger.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import { RunChanges } from "../../runs/watch.ts";
import { JOURNAL_FILE, type Lane } from "../../schemas/names.ts";
import type { RunFile, RunState } from "../../schemas/run.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { CrashJournal } from "../../workers/crashes/crash-journal.ts";
import { startWorker, type WorkerOptions } from "../../workers/worker.ts";
import { openCommandRedis } from "../command-redis.ts";
import type { Interrupts } from "../terminal/interrupts.ts";

export type SessionOptions = {
  config: Config;
  environment: { path: string };
  /** The model that a worker in this process serves. If omitted, only the workers of REDIS_URL do the work. */
  model?: Model;
  /** The devices of that worker. */
  devices?: DeviceChoice;
  s3: S3;
  outages: Outages;
  store: ObjectStore;
  runFile: RunFile;
  /** Claims the output for the run. Called when Redis is connected and the model of this process is loaded. */
  claim: () => Promise<void>;
  lane: Lane;
  /** Return when the last slice is queued. */
  detach: boolean;
  slices: SlicesFrom;
  /** What the worker may open besides the output: files and folders, and `s3://` prefixes. */
  roots: { files: readonly string[]; s3: readonly string[] };
  onProgress: (progress: Progress) => void;
  say: (line: string) => void;
  log: Logger;
  interrupts?: Pick<Interrupts, "endStuck">;
  /** For tests: they end the process during a step, or replace the ONNX session by a scripted one. */
  around?: WorkerOptions["around"];
  thread?: WorkerOptions["thread"];
};

/** Why a run was stopped, and its first rows in error. */
export type Stopped = Pick<Progress, "failure" | "failed"> & { reason: string; firstErrors: RowError[] };

export type SessionEnd = { state: RunState; stopped?: Stopped };

/**
 * Runs one run from its plan to its end. Uses the Redis server of the settings, or starts an empty one. Starts a worker in this process if
 * `model` is given. Everything is closed again on every path, in reverse order.
 * @throws LabelmillError; the reason of `signal` if it aborts, after the running slices are finished or given back
 */
export async function runSession(options: SessionOptions, signal: AbortSignal): Promise<SessionEnd> {
  const { config, store, runFile } = options;
  await using open = new AsyncDisposableStack();
  const own = new AbortController();
  const redis = await openCommandRedis({ ...options, fix: "run the same command again" }, open, own);
  const losses = await openWorker(options, redis, open, own);
  await options.claim();

  const connection = await openRedis(redis, "producer");
  open.defer(() => connection.disconnect());
  const wasLost = noteLoss(connection);
  const subscriber = await openRedis(redis, "worker");
  open.defer(() => subscriber.disconnect());
  const ledger = new RunLedger(connection);
  const planner = new Planner(connection, ledger, runFile, store.uri, {
    lane: options.lane,
    windowSlices: config.windowSlices,
    retries: config,
    room: new RedisRoom(connection, config.fullMs, options.say),
    redisShare: config.redisShare,
  });
  open.defer(() => planner.close());
  const changes = await RunChanges.open(new Channels(subscriber), runFile.run);
  const { slices, onProgress, detach } = options;
  const driving = planAndWatch(
    {
      ...{ run: runFile.run, ledger, planner, changes, slices, onProgress, detach },
      waitForStore: (error, stop) => options.outages.waitForEnd(error, store.uri, stop),
    },
    AbortSignal.any([signal, own.signal]),
  );
  const state = await rejectIfClosed(connection, driving).catch(async (error: unknown) => {
    if (error instanceof LabelmillError && error.code === "INPUT_EMPTY") await ledger.cancel(runFile.run);
    // A connection that was lost is the cause, even if it is back by now.
    const cause = wasLost() ? lostRedis(redis, error) : error;
    own.abort(cause);
    throw cause;
  });
  if (state === "succeeded" || state === "finished_with_errors") losses?.forget();
  const progress = state === "failed" ? await ledger.progress(runFile.run) : undefined;
  if (!progress?.reason) return { state };
  const { reason, failed, failure } = progress;
  return { state, stopped: { reason, failed, failure, firstErrors: await ledger.firstErrors(runFile.run) } };
}

/** @returns the crash journal, if crashes are not recorded in Redis */
async function openWorker(
  options: SessionOptions,
  redis: RedisAddress,
  open: AsyncDisposableStack,
  lost: AbortController,
): Promise<CrashJournal | undefined> {
  const { config, model, devices, store, runFile, s3, log } = options;
  if (!model) return undefined;
  const folder = store.uri.startsWith("file:") ? fileURLToPath(store.uri) : undefined;
  // The embedded server keeps nothing after its end. So crashes are recorded in a file beside the output, or on this machine.
  const journal = folder ? join(folder, JOURNAL_FILE) : join(config.cacheDir, "inflight", runFile.run);
  const losses = config.redisUrl ? undefined : new CrashJournal(journal);
  open.defer(() => losses?.close());
  const worker = await startWorker({
    redis,
    config,
    models: [model],
    s3,
    outages: options.outages,
    log,
    roots: folder
      ? { ...options.roots, files: [...options.roots.files, folder], outputs: [folder] }
      : { ...options.roots, s3: [...options.roots.s3, store.uri], outputs: [store.uri] },
    plan: planFromRunFile,
    ...(devices ? { devices } : {}),
    ...(losses ? { crashRecord: losses } : {}),
    ...(options.around ? { around: options.around } : {}),
    ...(options.thread ? { thread: options.thread } : {}),
  });
  open.defer(() => worker.close());
  void worker.failed.then(({ code, message, cause }) => {
    options.interrupts?.endStuck(config.graceMs);
    lost.abort(new LabelmillError(code, `${message}; run the same command again`, { cause }));
  });
  return losses;
}
