import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import type { Model } from "../inference/model.ts";
import type { Logger } from "../logger.ts";
import { driveRun } from "../producers/drive.ts";
import { Planner } from "../producers/planner.ts";
import { describeAddress, openRedis, type RedisAddress } from "../redis/connect.ts";
import { startEmbeddedRedis } from "../redis/embedded.ts";
import { type Progress, RunLedger } from "../runs/ledger.ts";
import { RunChanges } from "../runs/watch.ts";
import type { RunFile, RunState } from "../schemas/run.ts";
import type { Slice } from "../sources/slices.ts";
import type { ObjectStore } from "../storage/store.ts";
import { LossJournal } from "../workers/journal.ts";
import { startWorker, type WorkerOptions } from "../workers/worker.ts";

const JOURNAL_FILE = "_inflight";

export type SessionOptions = {
  config: Config;
  environment: { path: string };
  model: Model;
  store: ObjectStore;
  runFile: RunFile;
  slices: () => AsyncIterable<Slice>;
  /** Local files and folders that the worker may read, besides the output. */
  roots: readonly string[];
  onProgress: (progress: Progress) => void;
  say: (line: string) => void;
  log: Logger;
  /** Tests end the process in the middle of a step. */
  around?: WorkerOptions["around"];
};

/**
 * One run from its plan to its end in this process: a Redis server (the given one, else an empty one of our own), a worker, the
 * planner. Whatever happens, all of it is closed again, last opened first.
 * @throws whatever `signal` was aborted with, once the slices under way are finished or given back
 */
export async function runSession(options: SessionOptions, signal: AbortSignal): Promise<RunState> {
  const { config, model, store, runFile, log } = options;
  await using open = new AsyncDisposableStack();
  const outFolder = fileURLToPath(store.uri);
  const lostRedis = new AbortController();
  const redis = await openRedisFor(options, open, lostRedis);

  // A server of our own forgets everything when it ends, so who died on what is noted beside the output.
  let finished = false;
  const losses = config.redisUrl ? undefined : new LossJournal(join(outFolder, JOURNAL_FILE));
  open.defer(() => losses?.close(finished));

  const worker = await startWorker({
    redis,
    config,
    model,
    log,
    roots: [...options.roots, outFolder],
    ...(losses ? { losses } : {}),
    ...(options.around ? { around: options.around } : {}),
  });
  open.defer(() => worker.close());

  const connection = await openRedis(redis, "producer");
  open.defer(() => connection.disconnect());
  const subscriber = await openRedis(redis, "worker");
  open.defer(() => subscriber.disconnect());
  const ledger = new RunLedger(connection);
  const planner = new Planner(connection, ledger, runFile, store.uri, {
    lane: "bulk",
    windowSlices: config.windowSlices,
    retries: config,
  });
  open.defer(() => planner.close());
  const changes = await RunChanges.open(subscriber, runFile.run);
  const state = await driveRun(
    { run: runFile.run, ledger, planner, changes, slices: options.slices, onProgress: options.onProgress },
    AbortSignal.any([signal, lostRedis.signal]),
  ).catch((error: unknown) => {
    if (error instanceof LabelmillError || connection.status === "ready") throw error;
    const where = describeAddress(redis);
    throw new LabelmillError(
      "REDIS_UNREACHABLE",
      `lost Redis at ${where}: run the same command again when it is back`,
      {
        cause: error,
      },
    );
  });
  finished = state === "succeeded" || state === "finished_with_errors";
  return state;
}

async function openRedisFor(
  { config, environment, say }: SessionOptions,
  open: AsyncDisposableStack,
  lost: AbortController,
): Promise<RedisAddress> {
  if (config.redisUrl) {
    const address = { url: config.redisUrl };
    (await openRedis(address, "producer")).disconnect();
    return address;
  }
  const server = await startEmbeddedRedis({ cacheDir: config.cacheDir, path: environment.path, say });
  let closing = false;
  open.defer(async () => {
    closing = true;
    await server.close();
  });
  void server.ended.then((reason) => {
    if (!closing)
      lost.abort(
        new LabelmillError(
          "REDIS_UNREACHABLE",
          `this command's own Redis server ended (${reason}): run the same command again`,
        ),
      );
  });
  return server.address;
}
