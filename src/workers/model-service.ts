import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { WorkerOptions as QueueWorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import type { Fetcher } from "../fetch/fetcher.ts";
import { serving, WorkerRegistry } from "../fleet/registry.ts";
import { type Device, kindOf } from "../inference/devices/device.ts";
import { Engine, type EngineOptions } from "../inference/engine.ts";
import type { Model } from "../inference/model/model.ts";
import type { ImageDecoder } from "../inference/preprocess/image/image-decoder.ts";
import type { Logger } from "../logger.ts";
import { Turns } from "../runs/queues/fair-turns.ts";
import { QueueWorker } from "../runs/queues/queue-worker.ts";
import type { DeviceKind } from "../schemas/device.ts";
import { LANES, type Lane, queueName, SERVED_JOB_VERSIONS } from "../schemas/names.ts";
import { QueueBacklog } from "./queue/queue-backlog.ts";
import { SliceConcurrency } from "./queue/slice-concurrency.ts";
import { StageTimes } from "./registration/stage-times.ts";
import type { SharedServices } from "./shared-services.ts";
import { handleSlice } from "./slice/handle-slice.ts";
import type { LabelItems } from "./slice/label-items.ts";
import type { LoadItems } from "./slice/load-items.ts";
import type { OutputSteps } from "./slice/process-slice.ts";
import { TASK_SUPPORT } from "./tasks/tasks.ts";

/** The functions of a slice that tests wrap. */
export type WrappableSteps = { steps: OutputSteps; label: LabelItems };

export type ModelServiceDeps = {
  redis: Redis;
  config: Config;
  fetcher: Fetcher;
  /** One for all models: the images that they decode share one memory budget. */
  decoder: ImageDecoder;
  shared: SharedServices;
  steps: OutputSteps;
  load: LoadItems;
  around: (steps: WrappableSteps) => WrappableSteps;
  /** Aborts when slices are to be given back. */
  stop: AbortSignal;
  queueOptions: QueueWorkerOptions;
  log: Logger;
  /** GPUs. Undefined: the CPU. */
  devices: readonly Device[] | undefined;
  /** The file that inference threads run. Default: the one that opens sessions of onnxruntime. */
  thread: URL | undefined;
};

/** A served model: its engine, a worker for each of its queues, and the times of their stages. */
export type ModelService = { engine: Engine; queues: QueueWorker[]; stages: StageTimes };

/**
 * Loads a model and creates the workers of its two lanes, which do not run yet. `opening` closes what is opened.
 * @throws LabelmillError MODEL_INVALID, INFERENCE_FAILED
 */
export async function openModelService(
  model: Model,
  deps: ModelServiceDeps,
  opening: AsyncDisposableStack,
): Promise<ModelService> {
  const { config, fetcher, decoder, steps, around } = deps;
  const engine = await Engine.start(engineOptions(model, deps));
  opening.defer(() => engine.close());
  const stages = new StageTimes();
  const { openLabeler } = TASK_SUPPORT[model.task];
  const labelerOf = await openLabeler({ engine, stages, config, fetcher, decoder }, opening);
  const queues = LANES.flatMap((lane) =>
    serveLane(engine, lane, stages, around({ steps, label: labelerOf(lane) }), deps),
  );
  return { engine, queues, stages };
}

/** The workers of the queues of one lane: one for each version of jobs. They share what may be in hand. */
function serveLane(
  engine: Engine,
  lane: Lane,
  stages: StageTimes,
  wrapped: WrappableSteps,
  { redis, config, shared, load, stop, queueOptions, log }: ModelServiceDeps,
): QueueWorker[] {
  const all: SliceConcurrency[] = [];
  return SERVED_JOB_VERSIONS.map((version) => {
    const name = queueName(engine.model, lane, version);
    const inOthers = () => all.reduce((sum, { items }) => sum + items, -concurrency.items);
    const wanted = () => itemsWanted(engine, lane, config) - inOthers();
    const backlog = HAS_BACKLOG[lane] ? backlogOf(engine, redis, () => queue) : undefined;
    const concurrency = new SliceConcurrency(() => queue, wanted, config.concurrency, backlog);
    all.push(concurrency);
    const turns = new Turns(redis, name);
    const context = { ...shared, ...wrapped, stages, load, concurrency, turns, served: engine.model };
    const queue: QueueWorker = new QueueWorker(
      name,
      (job, token) => handleSlice(job, token!, stop, context),
      { ...queueOptions, concurrency: 1 },
      log,
    );
    return queue;
  });
}

/** Whether a lane's slices are left to other workers. Interactive slices are short, and gain more from a common batch. */
const HAS_BACKLOG: Record<Lane, boolean> = { bulk: true, interactive: false };

function backlogOf({ model }: Engine, redis: Redis, queue: () => QueueWorker): QueueBacklog {
  const registry = new WorkerRegistry(redis);
  return new QueueBacklog({
    waiting: () => queue().countWaiting(),
    workers: async () => serving(await registry.workers(), model.digest).length,
  });
}

function engineOptions(model: Model, deps: ModelServiceDeps): EngineOptions {
  const { config, log, devices, thread } = deps;
  const { threads, intraOpThreads } = config;
  const budget = TASK_SUPPORT[model.task].budget(config);
  return {
    ...{ model, devices, threads, intraOpThreads, budget, thread },
    cores: availableParallelism(),
    tuningFile: thread ? undefined : tuningFile(model, deps, budget),
    log: (message, detail) => log.info(detail, message),
  };
}

/** How many units of a device kind run a model. */
const UNITS: Record<DeviceKind, (devices: readonly Device[] | undefined) => number> = {
  cpu: () => availableParallelism(),
  cuda: (devices) => devices!.length,
};

/** Tuning results apply to the same model, devices and number of cores, and to the same configured values. */
function tuningFile(
  { digest }: Model,
  { config: { cacheDir, threads, intraOpThreads }, devices }: ModelServiceDeps,
  budget: number | undefined,
): string {
  const kind = kindOf(devices?.[0] ?? "cpu");
  const place = `${kind}-${UNITS[kind](devices)}`;
  const layout = (threads ?? intraOpThreads) ? `-${threads ?? "any"}x${intraOpThreads ?? "any"}` : "";
  const fixed = `${layout}${budget === undefined ? "" : `-${budget}`}`;
  return join(cacheDir, "tuning", `${digest.slice(0, 16)}-${place}${fixed}.json`);
}

/**
 * Items for this time of the model are in hand, so that a fast model does not wait for the next slice to be prepared.
 */
const NEXT_SLICE_READY_MS = 500;

/** Batches in hand per place of the engine. Interactive slices are small and many: more of them fill batches better. */
const BATCHES_IN_HAND: Record<Lane, number> = { bulk: 1, interactive: 2 };

/**
 * How many items a queue needs in hand to keep the model busy: two batches for each thread (`appetite`) while the next
 * slice is prepared, or what a fast model labels in half a second, or the least number of the task.
 */
function itemsWanted(engine: Engine, lane: Lane, config: Config): number {
  const { stats, appetite, model } = engine;
  const { itemCost, minInHand } = TASK_SUPPORT[model.task];
  const batches = (BATCHES_IN_HAND[lane] * appetite) / itemCost(engine);
  const nextSlice = stats.busyMs > 0 ? (stats.items / stats.busyMs) * NEXT_SLICE_READY_MS : 0;
  return Math.ceil(Math.max(batches, nextSlice, minInHand(engine, config)));
}
