import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import type { LabelmillError } from "../errors.ts";
import { Fetcher } from "../fetch/fetcher.ts";
import { FileGrants } from "../fetch/grants.ts";
import { OutputGrants } from "../fetch/output-grants.ts";
import { S3Grants } from "../fetch/s3-grants.ts";
import { Heartbeat, heartbeatTtlMs } from "../fleet/heartbeat.ts";
import { WorkerRegistry } from "../fleet/registry.ts";
import { type DeviceChoice, describeDevices } from "../inference/devices/devices.ts";
import type { Engine } from "../inference/engine.ts";
import type { Model } from "../inference/model/model.ts";
import { ImageDecoder } from "../inference/preprocess/image/image-decoder.ts";
import type { Logger } from "../logger.ts";
import { connectRedis, describeAddress, type RedisAddress } from "../redis/connect.ts";
import { trackDuplicates } from "../redis/duplicates.ts";
import { reportOutages, whenLost } from "../redis/outages.ts";
import { FileEncoder } from "../rows/file-encoder.ts";
import { Channels } from "../runs/channels.ts";
import { Compactions } from "../runs/compactions.ts";
import { RunLedger } from "../runs/ledger/ledger.ts";
import { FinalizerQueue } from "../runs/queues/finalizer-queue.ts";
import { SingleEnds } from "../runs/singles.ts";
import { KEY_PREFIX, RUNS_QUEUE } from "../schemas/names.ts";
import type { Outages } from "../storage/health/outages.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { type CrashRecord, RedisCrashRecord } from "./crashes/crash-record.ts";
import { Isolation } from "./crashes/isolation.ts";
import { handleRunJob } from "./finalizer.ts";
import { type ModelService, openService, type WrappableSteps } from "./model-service.ts";
import { type PlanRun, servePlans } from "./planner.ts";
import { DeadLetters } from "./queue/dead-letters.ts";
import { QueueWorker } from "./queue/queue-worker.ts";
import { Registration } from "./registration/registration.ts";
import { ResultEvents } from "./result-events.ts";
import { RunControl } from "./run-control.ts";
import type { SharedServices } from "./slice/handle-slice.ts";
import { itemLoader } from "./slice/load-items.ts";
import { OutageBuffer } from "./slice/outage-buffer.ts";
import { OutputStores, sliceSteps } from "./slice/slice-steps.ts";
import { openOutages } from "./store-outages.ts";

export type WorkerOptions = {
  redis: RedisAddress;
  config: Config;
  models: readonly Model[];
  s3: S3;
  /**
   * What references and outputs may open, besides what the settings grant: files and folders, and `s3://` prefixes. `outputs`: where
   * outputs may lie where the settings grant these apart.
   */
  roots: { files: readonly string[]; s3: readonly string[]; outputs?: readonly string[] };
  log: Logger;
  /** Where the models run; none: the CPU. */
  devices?: DeviceChoice;
  /** Plans runs, for those who asked for that and went; none: this worker leaves it to others. */
  plan?: PlanRun;
  /** Of a command that uses stores beside its worker; none: the worker's own. */
  outages?: Outages;
  /** Kept in Redis unless Redis dies with this process. */
  crashRecord?: CrashRecord;
  /** The file that inference threads run, if it is not onnxruntime's: a session that costs nothing, or that follows a script. */
  thread?: URL;
  /** Wraps the real steps and labeler; tests use it to end the process in the middle of one. */
  around?: (parts: WrappableSteps) => WrappableSteps;
};

export type RunningWorker = {
  /** One for each model, in their order. */
  readonly engines: readonly Engine[];
  /**
   * Settles when a device has failed on a single item, or half of the threads that decode images are stuck. No slice is taken from then on, and those under way fail or are given back, to
   * be tried again: by a new process, since this one's hold on the device may be broken.
   */
  readonly failed: Promise<LabelmillError>;
  /**
   * Stops taking slices, lets those under way finish within the grace time, gives the rest back, then closes everything in
   * the reverse of the order it was opened in.
   */
  close(): Promise<void>;
};

const ON_CPU: DeviceChoice = { devices: undefined, why: "no other was named" };

/** Serves the queues of its models, and the queue of runs to be closed, until it is told to stop. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { config, models, s3, log, devices = ON_CPU } = options;
  log.info(devices, `models run ${describeDevices(devices)}`);
  await using opening = new AsyncDisposableStack();
  const redis = connectRedis(options.redis, "worker");
  opening.defer(() => quit(redis));
  opening.defer(trackDuplicates(redis));
  const where = describeAddress(options.redis);
  reportOutages(redis, {
    lost: (why) =>
      log.warn(
        { redis: where, why },
        "connection to Redis lost: trying again. Slices under way go on, and no other is taken until it is back",
      ),
    back: (seconds) => log.warn({ redis: where, seconds: Math.round(seconds) }, "connection to Redis is back"),
  });
  const subscriber = connectRedis(options.redis, "worker");
  opening.defer(() => subscriber.disconnect());

  const fileRoots = [...options.roots.files, ...config.fileRoots];
  const s3Roots = [...options.roots.s3, ...config.s3Roots];
  const grants = { files: new FileGrants(fileRoots), s3: new S3Grants(s3Roots) };
  const outputRoots = config.outputRoots && [...(options.roots.outputs ?? []), ...config.outputRoots];
  const granted = { fileRoots, s3Roots, outputRoots };
  const fetcher = new Fetcher({ grants: grants.files, s3, s3Grants: grants.s3, allowPrivate: config.allowPrivate });
  opening.defer(() => fetcher.close());
  const { decodeBytes: budgetBytes, decodeMs: timeoutMs, poolThreads } = config;
  const decoder = new ImageDecoder({ budgetBytes, timeoutMs, threads: poolThreads });

  const outages = options.outages ?? opening.use(openOutages(s3, config, log));
  const channels = new Channels(subscriber);
  const id = randomBytes(8).toString("hex");
  const shared = await openShared(redis, channels, { ...options, outages }, opening, id);
  const placed = Object.fromEntries((devices.devices ?? ["cpu"]).map((device) => [device, devices.why]));
  const steps = sliceSteps({ ...shared, outputs: new OutputStores(new OutputGrants(granted), s3), devices: placed });
  const stop = new AbortController();
  const queueOptions = {
    connection: redis,
    prefix: KEY_PREFIX,
    autorun: false,
    lockDuration: config.lockMs,
    stalledInterval: config.stallCheckMs,
    // A slice that loses its worker is looked after by `handleSlice`; BullMQ's own limit would fail it without a word to the run.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    // Where a producer in another language does not say: what is done must not pile up.
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 1000 },
  };
  const around = options.around ?? ((parts) => parts);
  const services: ModelService[] = [];
  for (const model of models)
    services.push(
      await openService(
        model,
        {
          ...{
            redis,
            config,
            fetcher,
            decoder,
            shared,
            steps,
            load: itemLoader(grants, s3),
            around,
            stop: stop.signal,
            queueOptions,
            log,
          },
          ...{ devices: devices.devices, thread: options.thread },
        },
        opening,
      ),
    );
  const engines = services.map(({ engine }) => engine);
  const encoder = new FileEncoder();
  opening.defer(() => encoder.close());
  const { openOutput } = around({ steps, label: async () => [] }).steps;
  const finalizer = new QueueWorker(
    RUNS_QUEUE,
    (job, token) => handleRunJob(job, token!, stop.signal, { ...shared, openOutput, encoder }),
    { ...queueOptions, concurrency: 2 },
    log,
  );
  const plans =
    options.plan && servePlans(options.plan, { redis, channels, s3, config, grants, shared, openOutput }, queueOptions);
  const workers = [...services.flatMap(({ queues }) => queues), finalizer, ...(plans ? [plans.queue] : [])];
  opening.defer(() => stopWorkers(workers, redis, stop, config.graceMs));
  // Before the others: no grace helps a plan.
  opening.defer(() => plans?.stop());
  for (const worker of workers) {
    void worker.run().catch((error: unknown) => log.error({ err: error }, "queue worker stopped"));
  }
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  const failed = Promise.race([decoder.failed, ...engines.map((engine) => engine.failed)]).then((error) => {
    // Told here and now: closing what the device has broken may end the process.
    log.error({ code: error.code, err: error }, "a device or decode threads failed: this worker takes no more slices");
    for (const worker of workers) void worker.pause(true);
    void plans?.stop();
    // In the next turn of the loop: slices that were in the batch are to hear what became of it first, since it costs them a try.
    setImmediate(() => stop.abort());
    return error;
  });

  const registry = new WorkerRegistry(redis);
  const why = devices.why;
  const registration = new Registration({ id, registry, services, deviceReason: why, granted, outages, log });
  outages.onChange = () => registration.beat();
  // First of all: nobody is to queue for a worker that leaves.
  // A server that dies while it is asked never answers.
  opening.defer(() => Promise.race([registration.end(redis.status === "ready"), whenLost(redis)]));
  redis.on("ready", () => registration.beat());
  await registration.told();
  log.info({ worker: id, models: models.map((model) => model.id) }, "worker ready");

  const rest = opening.move();
  return { engines, failed, close: () => rest.disposeAsync() };
}

async function openShared(
  redis: Redis,
  channels: Channels,
  { config, log, crashRecord, outages }: WorkerOptions & { outages: Outages },
  opening: AsyncDisposableStack,
  id: string,
): Promise<SharedServices> {
  const events = new ResultEvents(redis, config.resultsMaxWaiting);
  opening.defer(() => events.close());
  const deadLetters = new DeadLetters(redis, log);
  opening.defer(() => deadLetters.close());
  const finalizers = new FinalizerQueue(redis, config);
  opening.defer(() => finalizers.close());
  const ledger = new RunLedger(redis);
  return {
    ledger,
    singles: new SingleEnds(redis),
    compactions: new Compactions(redis, finalizers),
    control: await RunControl.open(channels, ledger),
    crashRecord: crashRecord ?? (await openCrashRecord(redis, id, config, opening)),
    gate: new Isolation(),
    deadLetters,
    events,
    outages,
    held: new OutageBuffer(config.heldBytes),
    finalize: (run, output) => finalizers.add(run, output),
    log,
  };
}

async function openCrashRecord(
  redis: Redis,
  id: string,
  { lockMs }: Config,
  opening: AsyncDisposableStack,
): Promise<CrashRecord> {
  const heartbeat = new Heartbeat(redis, id, heartbeatTtlMs(lockMs));
  opening.defer(() => Promise.race([heartbeat.end(redis.status === "ready"), whenLost(redis)]));
  await heartbeat.begin();
  return new RedisCrashRecord(redis, heartbeat);
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

async function quit(redis: Redis): Promise<void> {
  if (redis.status === "ready") await Promise.race([redis.quit().catch(() => {}), whenLost(redis)]);
  redis.disconnect();
}
