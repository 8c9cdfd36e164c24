/**
 * The pipeline's side: what src/cli/label/run-session.ts builds for one run (its own Redis server, a worker, a planner, the
 * file system's store), except that the worker serves all runs, as a worker of a queue does.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Config } from "../../src/config.ts";
import type { Model } from "../../src/inference/model/model.ts";
import type { Layout } from "../../src/inference/tuning/thread-layouts.ts";
import { createLogger } from "../../src/logger.ts";
import { readManifest } from "../../src/outputs/output.ts";
import type { RedisAddress } from "../../src/redis/connect.ts";
import { FsStore } from "../../src/storage/fs/store.ts";
import { S3 } from "../../src/storage/s3/s3.ts";
import { CrashJournal } from "../../src/workers/crashes/crash-journal.ts";
import { type RunningWorker, startWorker } from "../../src/workers/worker.ts";
import { defaultConfig } from "../config.ts";
import { openInput } from "../inputs/inputs.ts";
import { kindOf, openModel } from "../inputs/models.ts";
import { answerCalls } from "../processes/calls.ts";
import { label } from "../processes/label-run.ts";
import { startOwnRedis } from "../processes/redis.ts";
import { RssWatch } from "../processes/rss.ts";

export type PipelineStart = {
  model: string;
  /** Holds all inputs and outputs. */
  folder: string;
  /** With a model that costs nothing in the inference threads. */
  free?: boolean;
  settings?: Partial<Config>;
};
/** Threads of the model and of each session, and the padded tokens (or images) of a batch by the upper bound of its lengths. */
export type PipelineMode = { layout: Layout; budgets: Readonly<Record<number, number>> };
export type PipelineRun = {
  items: number;
  errors: number;
  /** From opening the input to the manifest. */
  seconds: number;
  /** Event-loop delay of the thread that talks to Redis, 99th percentile. */
  loopDelayMs: number;
  /** Cost of the batches without and with padding, and their number. */
  realCost: number;
  paddedCost: number;
  batches: number;
  /** Of this process, every RSS_SAMPLE_MS. */
  rssBytes: number[];
  /** Whether the engine has found how to run: then the values above are final. */
  settled: boolean;
  mode: PipelineMode;
};

const DELAY_SAMPLE_MS = 5;
const FREE_THREAD = new URL("../processes/free-thread.ts", import.meta.url);

type Started = { config: Config; model: Model; redis: RedisAddress; worker: RunningWorker };
const opened = new AsyncDisposableStack();
let started: Started | undefined;

const calls = {
  start: async ({ model: ref, folder, free, settings }: PipelineStart): Promise<void> => {
    // An own folder: the budgets that an earlier benchmark found must not be used.
    const config = { ...defaultConfig(), cacheDir: folder, ...settings };
    const model = await openModel(ref);
    const server = await startOwnRedis();
    opened.defer(() => server.close());
    const crashRecord = new CrashJournal(join(folder, "losses"));
    opened.defer(() => crashRecord.close());
    const s3 = new S3();
    opened.defer(() => s3.close());
    const log = createLogger(config.logLevel, false);
    const worker = await startWorker({
      redis: server.address,
      config,
      models: [model],
      s3,
      log,
      roots: { files: [folder], s3: [] },
      crashRecord,
      ...(free ? { thread: FREE_THREAD } : {}),
    });
    opened.defer(() => worker.close());
    started = { config, model, redis: server.address, worker };
  },

  run: async ({ input }: { input: string }): Promise<PipelineRun> => {
    const { worker, model } = started!;
    const engine = worker.engines[0]!;
    const before = { ...engine.stats };
    const folder = join(dirname(input), `out-${randomBytes(4).toString("hex")}`);
    const delay = monitorEventLoopDelay({ resolution: DELAY_SAMPLE_MS });
    using rss = new RssWatch();
    delay.enable();
    const startedAt = performance.now();
    const source = await openInput(kindOf(model), input);
    const store = await FsStore.open(folder);
    await label(started!, source, store);
    const seconds = (performance.now() - startedAt) / 1000;
    delay.disable();
    const { totals } = (await readManifest(store))!;
    await rm(folder, { recursive: true });
    const { stats } = engine;
    return {
      items: totals.planned,
      errors: totals.errors,
      seconds,
      // A sample is the time between two turns, including the intended interval.
      loopDelayMs: Math.max(0, delay.percentile(99) / 1e6 - DELAY_SAMPLE_MS),
      realCost: stats.realCost - before.realCost,
      paddedCost: stats.paddedCost - before.paddedCost,
      batches: stats.batches - before.batches,
      rssBytes: rss.taken(),
      settled: engine.settled,
      mode: { layout: engine.layout, budgets: engine.budgets },
    };
  },
};
export type PipelineCalls = typeof calls;

answerCalls(calls, () => opened.disposeAsync());
