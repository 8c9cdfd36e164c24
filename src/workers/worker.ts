import { Worker as QueueWorker } from "bullmq";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { FileGrants } from "../fetch/grants.ts";
import { Engine } from "../inference/engine.ts";
import type { Model } from "../inference/model.ts";
import { PreparePool } from "../inference/prepare-pool.ts";
import type { Logger } from "../logger.ts";
import { connectRedis, type RedisAddress } from "../redis/connect.ts";
import { FinalizerQueue } from "../runs/finalizer-queue.ts";
import { RunLedger } from "../runs/ledger.ts";
import { KEY_PREFIX, queueName, RUNS_QUEUE } from "../schemas/names.ts";
import { DeadLetters } from "./dead-letters.ts";
import { ResultEvents } from "./events.ts";
import { handleFinalize } from "./finalizer.ts";
import { Gate } from "./gate.ts";
import { Intake } from "./intake.ts";
import type { LabelItems } from "./label-items.ts";
import { type LossRecord, RedisLossRecord } from "./losses.ts";
import { tellOutages, whenLost } from "./outages.ts";
import { imageLabeler, textLabeler } from "./prepare.ts";
import type { SliceSteps } from "./process.ts";
import { handleSlice } from "./slice-worker.ts";
import { Outputs, sliceSteps } from "./steps.ts";

export type WorkerOptions = {
  redis: RedisAddress;
  config: Config;
  model: Model;
  /** Files and folders that `file:` references and outputs may open. */
  roots: readonly string[];
  log: Logger;
  /** Kept in Redis unless Redis dies with this process. */
  losses?: LossRecord;
  /** Wraps the real steps and labeler; tests use it to end the process in the middle of one. */
  around?: (parts: WrappedParts) => WrappedParts;
};

export type WrappedParts = { steps: Omit<SliceSteps, "label">; label: LabelItems };

export type RunningWorker = {
  readonly engine: Engine;
  /**
   * Stops taking slices, lets those under way finish within the grace time, gives the rest back, then closes everything in
   * the reverse of the order it was opened in.
   */
  close(): Promise<void>;
};

/** Serves the queue of one model, and the queue of runs to be closed, until it is told to stop. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { config, model, log } = options;
  await using opening = new AsyncDisposableStack();
  const engine = await Engine.start({
    model,
    threads: config.threads,
    intraOpThreads: config.intraOpThreads,
    budget: model.task === "text-classification" ? config.textBudget : config.imageBudget,
  });
  opening.defer(() => engine.close());

  const grants = new FileGrants([...options.roots, ...config.fileRoots]);
  const realLabel = await openLabeler(engine, grants, options, opening);

  const redis = connectRedis(options.redis, "worker");
  opening.defer(() => quit(redis));
  tellOutages(redis, log);
  const connection = { connection: redis, prefix: KEY_PREFIX };
  const ledger = new RunLedger(redis);
  const events = new ResultEvents(redis, config.resultsMaxWaiting);
  opening.defer(() => events.close());
  const deadLetters = new DeadLetters(redis, log);
  opening.defer(() => deadLetters.close());
  const finalizers = new FinalizerQueue(redis, config);
  opening.defer(() => finalizers.close());
  const finalize = (run: string, output: string) => finalizers.add(run, output);

  const outputs = new Outputs(grants);
  const realSteps = sliceSteps({ outputs, ledger, events, finalize, log });
  const real: WrappedParts = { steps: realSteps, label: realLabel };
  const { steps, label } = options.around?.(real) ?? real;

  const stop = new AbortController();
  const timing = {
    lockDuration: config.lockMs,
    stalledInterval: config.stallCheckMs,
    // A slice that loses its worker is looked after by `handleSlice`; BullMQ's own limit would fail it without a word to the run.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
  };
  const intake: Intake = new Intake(() => slices, fullAt(options), config.concurrency);
  const parts = {
    steps,
    label,
    ledger,
    losses: options.losses ?? new RedisLossRecord(redis),
    gate: new Gate(),
    intake,
    deadLetters,
    finalize,
    log,
  };
  const slices: QueueWorker = new QueueWorker(
    queueName(model, "bulk"),
    (job, token) => handleSlice(job, token!, stop.signal, parts),
    { ...connection, ...timing, autorun: false, concurrency: 1 },
  );
  const finalizer = new QueueWorker(
    RUNS_QUEUE,
    (job) => handleFinalize(job, { openOutput: steps.openOutput, ledger, deadLetters, log }),
    { ...connection, ...timing, autorun: false },
  );
  const workers = [slices, finalizer];
  opening.defer(() => stopWorkers(workers, redis, stop, config.graceMs));
  for (const worker of workers) {
    // Those of an outage are told once, by the connection.
    worker.on("error", (error) => redis.status === "ready" && log.warn({ err: error }, "queue worker"));
    void worker.run().catch((error: unknown) => log.error({ err: error }, "queue worker stopped"));
  }
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  log.info({ model: model.id, digest: model.digest.slice(0, 8), threads: config.threads }, "worker ready");

  const rest = opening.move();
  return { engine, close: () => rest.disposeAsync() };
}

/**
 * Takes no more; lets what is under way finish within the grace time, then has it given back. Where Redis is gone nothing can be
 * finished nor given back: it is dropped at once, and other tries find out by its locks.
 */
async function stopWorkers(
  workers: QueueWorker[],
  redis: Redis,
  stop: AbortController,
  graceMs: number,
): Promise<void> {
  const grace = setTimeout(() => stop.abort(), graceMs);
  let lost = false;
  const gone = whenLost(redis).then(() => {
    lost = true;
  });
  await Promise.race([gone, Promise.all(workers.map((worker) => worker.pause()))]);
  clearTimeout(grace);
  if (lost) {
    stop.abort();
    redis.disconnect();
  }
  await Promise.all(workers.map((worker) => worker.close(lost)));
}

async function openLabeler(
  engine: Engine,
  grants: FileGrants,
  { config, model }: WorkerOptions,
  opening: AsyncDisposableStack,
): Promise<LabelItems> {
  if (model.task === "image-classification") {
    const fetcher = new Fetcher({ grants, allowPrivate: config.allowPrivate });
    opening.defer(() => fetcher.close());
    return imageLabeler(engine, fetcher, config.imagesInFlight);
  }
  const pool = await PreparePool.start({ modelDir: model.dir, threads: 1 });
  opening.defer(() => pool.close());
  return textLabeler(engine, pool);
}

/** Two batches a thread keep the model busy while the next slice is fetched and prepared. */
function fullAt({ config, model }: WorkerOptions): number {
  const tokensOfATypicalText = 32;
  const batch = model.task === "text-classification" ? config.textBudget / tokensOfATypicalText : config.imageBudget;
  return Math.ceil(2 * batch * config.threads);
}

async function quit(redis: Redis): Promise<void> {
  if (redis.status === "ready") await redis.quit();
  else redis.disconnect();
}
