import { randomBytes } from "node:crypto";
import type { WorkerOptions as QueueWorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import type { LabelmillError } from "../errors.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { WorkerRegistry } from "../fleet/registry.ts";
import { type DeviceChoice, describeDevices } from "../inference/devices/devices.ts";
import type { Engine } from "../inference/engine.ts";
import type { Model } from "../inference/model/model.ts";
import { ImageDecoder } from "../inference/preprocess/image/image-decoder.ts";
import type { Logger } from "../logger.ts";
import type { RedisAddress } from "../redis/connect.ts";
import { whenLost } from "../redis/outages.ts";
import { Channels } from "../runs/channels.ts";
import { lockOptions } from "../runs/queues/queue-worker.ts";
import { KEY_PREFIX } from "../schemas/names.ts";
import type { Outages } from "../storage/health/outages.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { openConnections } from "./connections.ts";
import type { CrashRecord } from "./crashes/crash-record.ts";
import { Deliverer } from "./deliver/deliver.ts";
import { serveRunJobs } from "./finalizer.ts";
import { type ModelService, type ModelServiceDeps, openModelService, type WrappableSteps } from "./model-service.ts";
import { openOutages } from "./outages/store-outages.ts";
import { type PlanRun, servePlans } from "./planner.ts";
import { Registration, type RegistrationDeps } from "./registration/registration.ts";
import { openSharedServices } from "./shared-services.ts";
import { stopOnFailure, stopQueues } from "./shutdown.ts";
import { itemLoader } from "./slice/load-items.ts";
import { OutputStores } from "./slice/output-stores.ts";
import { sliceSteps } from "./slice/slice-steps.ts";
import { openGrants, type Roots, type WorkerGrants } from "./worker-grants.ts";

export type WorkerOptions = {
  redis: RedisAddress;
  config: Config;
  models: readonly Model[];
  s3: S3;
  /**
   * What references and outputs may open, in addition to the settings: files and folders, and `s3://` prefixes.
   * `outputs`: where outputs may be written, if the settings grant outputs separately.
   */
  roots: Roots;
  log: Logger;
  /** The devices that run the models. Default: the CPU. */
  devices?: DeviceChoice;
  /** Plans runs whose submitter does not wait. Default: this worker leaves plans to other workers. */
  plan?: PlanRun;
  /** Store outages of the command that runs this worker. Default: the worker's own. */
  outages?: Outages;
  /** Where crashes are recorded. Default: in Redis. A command whose Redis ends with it needs another place. */
  crashRecord?: CrashRecord;
  /** The file that inference threads run. Default: the one that opens sessions of onnxruntime. Tests set others. */
  thread?: URL;
  /** Wraps the steps and the labeler. Tests use it to end the process in the middle of a step. */
  around?: (steps: WrappableSteps) => WrappableSteps;
};

export type RunningWorker = {
  /** One for each model, in the order of the models. */
  readonly engines: readonly Engine[];
  /**
   * Settles when a device has failed on a single item, or half of the threads that decode images are stuck. The worker
   * then takes no more slices, and running slices fail or are given back. They need a new process: this one may have
   * broken its connection to the device.
   */
  readonly failed: Promise<LabelmillError>;
  /** Whether it is connected to Redis and registered, so that it gets work. */
  readonly isReady: boolean;
  /**
   * Takes no more slices, lets running ones finish within the grace time, and gives the rest back. Then closes
   * everything in the reverse of the order in which it was opened.
   */
  close(): Promise<void>;
};

const ON_CPU: DeviceChoice = { devices: undefined, why: "no other device was named" };

/** Serves the queues of its models, and the queues of runs to be planned and closed, until it is closed. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { config, s3, log, devices = ON_CPU } = options;
  log.info(devices, `models run ${describeDevices(devices)}`);
  // Everything that is opened is added to this stack. If the start fails, it is closed here; otherwise, by `close`.
  await using opening = new AsyncDisposableStack();
  const { redis, subscriber } = openConnections(options.redis, log, opening);
  const grants = openGrants(options.roots, config);
  const { fetcher, decoder } = openImages(grants, s3, config, opening);
  const outages = options.outages ?? opening.use(openOutages(s3, config, log));
  const channels = new Channels(subscriber);
  const id = randomBytes(8).toString("hex");
  const { crashRecord, around = (steps) => steps, thread } = options;
  const shared = await openSharedServices({ redis, channels, id, config, outages, crashRecord, log }, opening);
  const outputs = new OutputStores(grants.outputs, s3);
  const deliverer = new Deliverer({ s3, grants, stores: outputs, webhooks: shared.webhooks, outages, log });
  const steps = sliceSteps({ ...shared, outputs, deliverer, devices: reasonsByDevice(devices) });

  const stop = new AbortController();
  const queueOptions = queueOptionsOf(redis, config);
  const services = await openModelServices(
    options.models,
    {
      ...{ redis, config, fetcher, decoder, shared, steps, around, queueOptions, log, thread },
      ...{ load: itemLoader(grants, s3, fetcher), stop: stop.signal, devices: devices.devices },
    },
    opening,
  );
  const { openOutput } = around({ steps, label: async () => [] }).steps;
  const finalizers = serveRunJobs({ ...shared, openOutput }, stop.signal, queueOptions, opening);
  const plans =
    options.plan && servePlans(options.plan, { redis, channels, s3, config, grants, shared, openOutput }, queueOptions);
  const queues = [...services.flatMap((service) => service.queues), ...finalizers, ...(plans?.queues ?? [])];
  opening.defer(() => stopQueues(queues, redis, stop, config.graceMs));
  // Closed before the queues: a plan does not end within the grace time.
  opening.defer(() => plans?.stop());
  for (const queue of queues)
    void queue.run().catch((error: unknown) => log.error({ err: error }, "queue worker stopped"));
  await Promise.all(queues.map((queue) => queue.waitUntilReady()));

  const engines = services.map(({ engine }) => engine);
  const failures = [decoder.failed, ...engines.map((engine) => engine.failed)];
  const failed = stopOnFailure(failures, queues, () => plans?.stop(), stop, log);
  const { granted } = grants;
  const registration = await register(
    { id, redis, services, deviceReason: devices.why, granted, outages, deliveries: deliverer.counts, log },
    opening,
  );
  log.info({ worker: id, models: options.models.map((model) => model.id) }, "worker ready");

  const opened = opening.move();
  return {
    ...{ engines, failed },
    get isReady() {
      return redis.status === "ready" && registration.isRegistered;
    },
    close: () => opened.disposeAsync(),
  };
}

/** What fetches and decodes images, one for all models. `opening` closes what is opened. */
function openImages(grants: WorkerGrants, s3: S3, config: Config, opening: AsyncDisposableStack) {
  const { allowPrivate, decodeBytes: budgetBytes, decodeMs: timeoutMs, poolThreads: threads } = config;
  const fetcher = new Fetcher({ grants: grants.files, s3, s3Grants: grants.s3, uploads: grants.uploads, allowPrivate });
  opening.defer(() => fetcher.close());
  return { fetcher, decoder: new ImageDecoder({ budgetBytes, timeoutMs, threads }) };
}

/** Why each device was chosen, as the manifest shows it. */
function reasonsByDevice({ devices, why }: DeviceChoice): Record<string, string> {
  return Object.fromEntries((devices ?? ["cpu"]).map((device) => [device, why]));
}

function queueOptionsOf(redis: Redis, config: Config): QueueWorkerOptions {
  return {
    ...lockOptions(config),
    connection: redis,
    prefix: KEY_PREFIX,
    autorun: false,
    // For jobs of producers in other languages that do not set it: finished jobs must not pile up.
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 1000 },
  };
}

/** Opens one model after the other, in their order. */
async function openModelServices(
  models: readonly Model[],
  deps: ModelServiceDeps,
  opening: AsyncDisposableStack,
): Promise<ModelService[]> {
  const services: ModelService[] = [];
  for (const model of models) services.push(await openModelService(model, deps, opening));
  return services;
}

async function register(
  { redis, ...rest }: Omit<RegistrationDeps, "registry"> & { redis: Redis; outages: Outages },
  opening: AsyncDisposableStack,
): Promise<Registration> {
  const registration = new Registration({ ...rest, registry: new WorkerRegistry(redis) });
  rest.outages.onChange = () => registration.beat();
  // Closed first, so that no producer queues for a worker that is leaving. A server that dies meanwhile never answers.
  opening.defer(() => Promise.race([registration.end(redis.status === "ready"), whenLost(redis)]));
  redis.on("ready", () => registration.beat());
  await registration.sent();
  return registration;
}
