import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { WorkerOptions as QueueWorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import type { Fetcher } from "../fetch/fetcher.ts";
import type { Device } from "../inference/devices/device.ts";
import { Engine, type EngineOptions } from "../inference/engine.ts";
import type { Model } from "../inference/model/model.ts";
import type { ImageDecoder } from "../inference/preprocess/image/image-decoder.ts";
import { PreparePool } from "../inference/preprocess/prepare-pool.ts";
import type { Logger } from "../logger.ts";
import { Turns } from "../runs/queues/turns.ts";
import { LANES, type Lane, queueName } from "../schemas/names.ts";
import { QueueWorker } from "./queue/queue-worker.ts";
import { SliceConcurrency } from "./queue/slice-concurrency.ts";
import { StageTimes } from "./registration/stage-times.ts";
import { handleSlice, type SharedServices } from "./slice/handle-slice.ts";
import type { LabelItems } from "./slice/label-items.ts";
import type { LoadItems } from "./slice/load-items.ts";
import type { SliceSteps } from "./slice/process-slice.ts";
import { imageLabeler, textLabeler } from "./tasks/labelers.ts";

/** What the parts of a slice are before a test wraps its own around them. */
export type WrappableSteps = { steps: Omit<SliceSteps, "label">; label: LabelItems };

export type ModelServiceDeps = {
  redis: Redis;
  config: Config;
  fetcher: Fetcher;
  /** Of all models together: what they decode lies in one memory. */
  decoder: ImageDecoder;
  shared: SharedServices;
  steps: Omit<SliceSteps, "label">;
  load: LoadItems;
  around: (parts: WrappableSteps) => WrappableSteps;
  /** Aborts when the grace time is over. */
  stop: AbortSignal;
  queueOptions: QueueWorkerOptions;
  log: Logger;
  /** GPUs; none: the CPU. */
  devices: readonly Device[] | undefined;
  /** The file that inference threads run, if it is not onnxruntime's. */
  thread: URL | undefined;
};

/** Images held, unless batches take more: enough to decode while the model runs. */
const IMAGES_IN_FLIGHT = 64;
/** What a slice takes to be fetched, tokenized, written and committed is well within this. */
const SOON_MS = 500;
/** Tokens of a text before any was seen. */
const TYPICAL_TEXT = 16;

/** One model that is served: its engine, a worker for each of its queues, and what the stages of their work take. */
export type ModelService = { engine: Engine; queues: QueueWorker[]; stages: StageTimes };

/** Loads a model and makes the workers of its two lanes, which do not run yet. What is opened is closed by `opening`. */
export async function openService(
  model: Model,
  parts: ModelServiceDeps,
  opening: AsyncDisposableStack,
): Promise<ModelService> {
  const engine = await Engine.start(engineOptions(model, parts));
  opening.defer(() => engine.close());
  const stages = new StageTimes();
  const labelerOf = await openLabeler(engine, stages, parts, opening);
  const queues = LANES.map((lane) => {
    const wrapped = parts.around({ steps: parts.steps, label: labelerOf(lane) });
    return serveLane(engine, lane, { ...wrapped, stages }, parts);
  });
  return { engine, queues, stages };
}

function serveLane(
  engine: Engine,
  lane: Lane,
  own: WrappableSteps & { stages: StageTimes },
  parts: ModelServiceDeps,
): QueueWorker {
  const { redis, config, shared, load, stop, queueOptions, log } = parts;
  const name = queueName(engine.model, lane);
  const intake = new SliceConcurrency(
    () => queue,
    () => fullAt(engine, lane, config),
    config.concurrency,
  );
  const all = { ...shared, ...own, load, intake, turns: new Turns(redis, name), served: engine.model };
  const queue: QueueWorker = new QueueWorker(
    name,
    (job, token) => handleSlice(job, token!, stop, all),
    {
      ...queueOptions,
      concurrency: 1,
    },
    log,
  );
  return queue;
}

async function openLabeler(
  engine: Engine,
  stages: StageTimes,
  { config, fetcher, decoder }: ModelServiceDeps,
  opening: AsyncDisposableStack,
): Promise<(lane: Lane) => LabelItems> {
  if (engine.model.task === "image-classification") {
    const inFlight = () => imagesInFlight(engine, config);
    return (lane) => imageLabeler({ engine, fetcher, decoder, stages, inFlight, lane });
  }
  const threads = Math.min(2, availableParallelism());
  const pool = await PreparePool.start({ modelDir: engine.model.dir, threads, textMs: config.textTimeoutMs });
  opening.defer(() => pool.close());
  return (lane) => textLabeler({ engine, pool, stages, lane });
}

function engineOptions(model: Model, parts: ModelServiceDeps): EngineOptions {
  const { config, log, devices, thread } = parts;
  const { threads, intraOpThreads } = config;
  const budget = model.task === "text-classification" ? config.textBudget : config.imageBudget;
  return {
    ...{ model, devices, threads, intraOpThreads, budget, thread },
    cores: availableParallelism(),
    tuningFile: thread ? undefined : tuningFile(model, parts, budget),
    log: (message, detail) => log.info(detail, message),
  };
}

/** What was found is good for the same model, device and cores, and for the same things fixed. */
function tuningFile(
  { digest }: Model,
  { config: { cacheDir, threads, intraOpThreads }, devices }: ModelServiceDeps,
  budget: number | undefined,
): string {
  const place = devices ? `cuda-${devices.length}` : `cpu-${availableParallelism()}`;
  const layout = (threads ?? intraOpThreads) ? `-${threads ?? "any"}x${intraOpThreads ?? "any"}` : "";
  const fixed = `${layout}${budget === undefined ? "" : `-${budget}`}`;
  return join(cacheDir, "tuning", `${digest.slice(0, 16)}-${place}${fixed}.json`);
}

function imagesInFlight({ appetite }: Engine, config: Config): number {
  return config.imagesInFlight ?? Math.max(IMAGES_IN_FLIGHT, appetite);
}

/**
 * How many items are enough. Two batches a thread keep the model busy while the next slice is tokenized, and where it is so fast that
 * they are gone before that slice is there, what it labels in half a second. Interactive slices are small and many: twice as much of
 * them fills batches better. Images are long on their way: as many as may be in flight, else the model waits where slices are small.
 */
function fullAt(engine: Engine, lane: Lane, config: Config): number {
  const { stats, appetite, model } = engine;
  const image = model.task === "image-classification";
  const perItem = image ? 1 : stats.items > 0 ? stats.realCost / stats.items : TYPICAL_TEXT;
  const batches = ((lane === "interactive" ? 2 : 1) * appetite) / perItem;
  const soon = stats.busyMs > 0 ? (stats.items / stats.busyMs) * SOON_MS : 0;
  return Math.ceil(Math.max(batches, soon, image ? imagesInFlight(engine, config) : 0));
}
