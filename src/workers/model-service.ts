import { Worker as QueueWorker, type WorkerOptions as QueueWorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import type { Fetcher } from "../fetch/fetcher.ts";
import { Engine } from "../inference/engine.ts";
import type { Model } from "../inference/model.ts";
import { PreparePool } from "../inference/prepare-pool.ts";
import { Turns } from "../runs/turns.ts";
import { LANES, type Lane, queueName } from "../schemas/names.ts";
import { Intake } from "./intake.ts";
import type { LabelItems } from "./label-items.ts";
import { imageLabeler, textLabeler } from "./prepare.ts";
import type { SliceSteps } from "./process.ts";
import { handleSlice, type SharedParts } from "./slice-worker.ts";

/** What the parts of a slice are before a test wraps its own around them. */
export type WrappedParts = { steps: Omit<SliceSteps, "label">; label: LabelItems };

export type ServiceParts = {
  redis: Redis;
  config: Config;
  fetcher: Fetcher;
  shared: SharedParts;
  steps: Omit<SliceSteps, "label">;
  around: (parts: WrappedParts) => WrappedParts;
  /** Aborts when the grace time is over. */
  stop: AbortSignal;
  queueOptions: QueueWorkerOptions;
};

/** Tokens of a text before any was seen. */
const TYPICAL_TEXT = 16;

/** One model that is served: its engine, and a worker for each of its queues. */
export type ModelService = { engine: Engine; queues: QueueWorker[] };

/** Loads a model and makes the workers of its two lanes, which do not run yet. What is opened is closed by `opening`. */
export async function openService(
  model: Model,
  parts: ServiceParts,
  opening: AsyncDisposableStack,
): Promise<ModelService> {
  const { config } = parts;
  const engine = await Engine.start({
    model,
    threads: config.threads,
    intraOpThreads: config.intraOpThreads,
    budget: model.task === "text-classification" ? config.textBudget : config.imageBudget,
  });
  opening.defer(() => engine.close());
  const labelerOf = await openLabeler(engine, parts, opening);
  const queues = LANES.map((lane) =>
    serveLane(engine, lane, parts.around({ steps: parts.steps, label: labelerOf(lane) }), parts),
  );
  return { engine, queues };
}

function serveLane(engine: Engine, lane: Lane, { steps, label }: WrappedParts, parts: ServiceParts): QueueWorker {
  const { redis, config, shared, stop, queueOptions } = parts;
  const name = queueName(engine.model, lane);
  const intake = new Intake(
    () => queue,
    () => fullAt(engine, config, lane),
    config.concurrency,
  );
  const own = { ...shared, steps, label, intake, turns: new Turns(redis, name), digest: engine.model.digest };
  const queue: QueueWorker = new QueueWorker(name, (job, token) => handleSlice(job, token!, stop, own), {
    ...queueOptions,
    concurrency: 1,
  });
  return queue;
}

async function openLabeler(
  engine: Engine,
  { config, fetcher }: ServiceParts,
  opening: AsyncDisposableStack,
): Promise<(lane: Lane) => LabelItems> {
  if (engine.model.task === "image-classification")
    return (lane) => imageLabeler(engine, fetcher, config.imagesInFlight, lane);
  const pool = await PreparePool.start({ modelDir: engine.model.dir, threads: 1 });
  opening.defer(() => pool.close());
  return (lane) => textLabeler(engine, pool, lane);
}

/**
 * Two batches a thread keep the model busy while the next slice is fetched and prepared. Interactive slices are small and many: twice
 * as much of them fills batches better.
 */
function fullAt({ model, stats }: Engine, config: Config, lane: Lane): number {
  const perItem = stats.items > 0 ? stats.realCost / stats.items : TYPICAL_TEXT;
  const batch = model.task === "text-classification" ? config.textBudget / perItem : config.imageBudget;
  return Math.ceil((lane === "interactive" ? 4 : 2) * batch * config.threads);
}
