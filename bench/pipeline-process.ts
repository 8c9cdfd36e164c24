/**
 * The pipeline's side: what src/cli/session.ts puts together for one run (a Redis server of its own, a worker, a planner, the
 * file system's store), with the worker kept from run to run, as where it serves a queue.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { type Config, loadConfig, readEnvironment } from "../src/config.ts";
import type { Model } from "../src/inference/model.ts";
import { createLogger } from "../src/logger.ts";
import { driveRun } from "../src/producers/drive.ts";
import { Planner } from "../src/producers/planner.ts";
import { openRedis, type RedisAddress } from "../src/redis/connect.ts";
import { startEmbeddedRedis } from "../src/redis/embedded.ts";
import { RunLedger } from "../src/runs/ledger.ts";
import { openOutput, readManifest } from "../src/runs/output.ts";
import { RunChanges } from "../src/runs/watch.ts";
import { SCHEMA_VERSION } from "../src/schemas/names.ts";
import type { RunFile } from "../src/schemas/run.ts";
import { SOFTWARE } from "../src/software.ts";
import { cutSlices } from "../src/sources/slices.ts";
import type { Source } from "../src/sources/source.ts";
import { FsStore } from "../src/storage/fs.ts";
import { LossJournal } from "../src/workers/journal.ts";
import { type RunningWorker, startWorker } from "../src/workers/worker.ts";
import { answerCalls } from "./calls.ts";
import { openInput } from "./inputs.ts";
import { kindOf, openModel } from "./models.ts";

export type PipelineSetup = { redis: string; threads: number; intraOpThreads: number; budget: number };
export type PipelineRun = {
  items: number;
  errors: number;
  /** From opening the input to the manifest. */
  seconds: number;
  /** Of the thread that talks to Redis, at the 99th percentile. */
  loopDelayMs: number;
  /** Cost of the batches without and with padding. */
  realCost: number;
  paddedCost: number;
};

const DELAY_SAMPLE_MS = 5;
const TOP_K = 5;

type Started = { config: Config; model: Model; redis: RedisAddress; worker: RunningWorker };
const opened = new AsyncDisposableStack();
let started: Started | undefined;

const calls = {
  /** @param folder holds all inputs and outputs */
  start: async ({ model: ref, folder }: { model: string; folder: string }): Promise<PipelineSetup> => {
    const environment = readEnvironment();
    // The defaults, whatever the caller's settings; only the Redis server may have to be looked for where they say.
    const config = loadConfig({ flags: { cacheDir: environment.variables.LABELMILL_CACHE_DIR } });
    const model = await openModel(ref);
    const { cacheDir, threads, intraOpThreads } = config;
    const say = (line: string) => void process.stderr.write(`${line}\n`);
    const server = await startEmbeddedRedis({ cacheDir, path: environment.path, say });
    opened.defer(() => server.close());
    const losses = new LossJournal(join(folder, "losses"));
    opened.defer(() => losses.close(true));
    const log = createLogger(config.logLevel, false);
    const worker = await startWorker({ redis: server.address, config, model, log, roots: [folder], losses });
    opened.defer(() => worker.close());
    started = { config, model, redis: server.address, worker };
    const budget = kindOf(model) === "text" ? config.textBudget : config.imageBudget;
    return { redis: await redisVersion(server.address), threads, intraOpThreads, budget };
  },

  run: async ({ input }: { input: string }): Promise<PipelineRun> => {
    const { worker, model } = started!;
    const before = { ...worker.engine.stats };
    const folder = join(dirname(input), `out-${randomBytes(4).toString("hex")}`);
    const delay = monitorEventLoopDelay({ resolution: DELAY_SAMPLE_MS });
    delay.enable();
    const startedAt = performance.now();
    const source = await openInput(kindOf(model), input);
    const store = await FsStore.open(folder);
    await label(started!, source, store);
    const seconds = (performance.now() - startedAt) / 1000;
    delay.disable();
    const { totals } = (await readManifest(store))!;
    await rm(folder, { recursive: true });
    const { stats } = worker.engine;
    return {
      items: totals.planned,
      errors: totals.errors,
      seconds,
      // What is sampled is the time between two turns, the wanted one included.
      loopDelayMs: Math.max(0, delay.percentile(99) / 1e6 - DELAY_SAMPLE_MS),
      realCost: stats.realCost - before.realCost,
      paddedCost: stats.paddedCost - before.paddedCost,
    };
  },
};
export type PipelineCalls = typeof calls;

async function label({ config, model, redis }: Started, source: Source, store: FsStore): Promise<void> {
  await using open = new AsyncDisposableStack();
  const { runFile } = await openOutput(store, runFileOf(config, model, source));
  const connection = await openRedis(redis, "producer");
  open.defer(() => connection.disconnect());
  const subscriber = await openRedis(redis, "worker");
  open.defer(() => subscriber.disconnect());
  const ledger = new RunLedger(connection);
  const { windowSlices, sliceItems, sliceBytes } = config;
  const planner = new Planner(connection, ledger, runFile, store.uri, { lane: "bulk", windowSlices, retries: config });
  open.defer(() => planner.close());
  const changes = await RunChanges.open(subscriber, runFile.run);
  const slices = () => cutSlices([source], { items: sliceItems, bytes: sliceBytes });
  const drive = { run: runFile.run, ledger, planner, changes, slices, onProgress: () => {} };
  const state = await driveRun(drive, new AbortController().signal);
  if (state === "failed") throw new Error(`the run ended as ${state}`);
}

function runFileOf(config: Config, model: Model, { input, read }: Source): RunFile {
  const { id, revision, digest, dtype, task } = model;
  const { sliceItems, sliceBytes, events } = config;
  const { format, delimiter, column } = read;
  return {
    schemaVersion: SCHEMA_VERSION,
    run: randomBytes(8).toString("hex"),
    createdAt: new Date().toISOString(),
    software: SOFTWARE,
    spec: {
      model: { id, revision, digest, dtype, task },
      read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
      topK: Math.min(TOP_K, model.labels.length),
      sliceItems,
      sliceBytes,
      events,
    },
    inputs: [{ ...input, read: { format, delimiter, column } }],
  };
}

async function redisVersion(address: RedisAddress): Promise<string> {
  const redis = await openRedis(address, "producer");
  try {
    const info = await redis.info("server");
    const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1];
    return valkey ? `valkey ${valkey}` : (/^redis_version:(\S+)/m.exec(info)?.[1] ?? "unknown");
  } finally {
    redis.disconnect();
  }
}

answerCalls(calls, () => opened.disposeAsync());
