import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Redis } from "ioredis";
import { s3Of } from "../../../src/cli/s3.ts";
import { type Config, loadConfig } from "../../../src/config.ts";
import type { Model } from "../../../src/inference/model/model.ts";
import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { openOutput } from "../../../src/outputs/claim.ts";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { createProducer } from "../../../src/producers/client/create-producer.ts";
import type { Producer } from "../../../src/producers/client/producer.ts";
import type { ProducerOptions } from "../../../src/producers/client/producer-options.ts";
import { planAndWatch } from "../../../src/producers/planning/plan-and-watch.ts";
import { Planner } from "../../../src/producers/planning/planner.ts";
import { RedisRoom } from "../../../src/producers/planning/redis-room.ts";
import { slicesOf } from "../../../src/producers/planning/run-slices.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { PlanQueue } from "../../../src/runs/queues/plan-queue.ts";
import { isEnded } from "../../../src/runs/state.ts";
import { RunChanges } from "../../../src/runs/watch.ts";
import { DEFAULT_SLICE_ITEMS } from "../../../src/schemas/job.ts";
import { type OutputOptions, PLAIN_OUTPUT } from "../../../src/schemas/output.ts";
import type { RunFile, RunSettings, RunState } from "../../../src/schemas/run.ts";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import type { Source } from "../../../src/sources/source.ts";
import { openStore } from "../../../src/storage/open.ts";
import { S3, type S3Settings } from "../../../src/storage/s3/s3.ts";
import type { S3Limits } from "../../../src/storage/s3/tries.ts";
import type { ObjectStore } from "../../../src/storage/store.ts";
import { type RunningWorker, startWorker, type WorkerOptions } from "../../../src/workers/worker.ts";
import type { WorkerProcessOptions } from "../processes/worker-main.ts";
import { TcpRedis } from "../servers/tcp-redis.ts";

export const MODELS = fileURLToPath(new URL("../../../models/", import.meta.url));

/** Settings with which a lost worker is detected within about a second. */
export const FAST = { lockMs: 1000, stallCheckMs: 500, backoffMs: 100 };

/** A temporary folder that is removed at the end of the test. */
export async function temporaryFolder(): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "lm-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Writes a CSV file with different texts of different lengths. */
export async function writeTexts(path: string, count: number): Promise<string> {
  const moods = ["good", "bad", "great", "awful", "fine", "boring"];
  const lines = Array.from({ length: count }, (_, i) => `${i},it was ${moods[i % 6]}${" really".repeat(i % 9)} ${i}`);
  await writeFile(path, `id,text\n${lines.join("\n")}\n`);
  return path;
}

/** `out` is a folder in the folder of the pipeline, or an `s3://` prefix. */
export type RunRequest = {
  kind: "text" | "images";
  path: string;
  model: string;
  out: string;
  settings?: Partial<RunSettings>;
  /** Default: `inline`. */
  travels?: "split" | "inline";
  output?: Partial<OutputOptions>;
  keep?: string[];
};

type TestWorkerOptions = Partial<Omit<WorkerOptions, "models" | "s3">> & {
  models?: string[];
  s3?: S3Settings;
  s3Limits?: Partial<S3Limits>;
};

/** What a test of the whole pipeline needs: Redis, runs and workers. They are closed in reverse order. */
export class TestPipeline implements AsyncDisposable {
  readonly folder: string;
  readonly redis: TcpRedis;
  readonly #opened = new AsyncDisposableStack();

  private constructor(folder: string, redis: TcpRedis) {
    this.folder = folder;
    this.redis = redis;
  }

  static async open(): Promise<TestPipeline> {
    const folder = await temporaryFolder();
    const redis = await TcpRedis.start();
    const pipeline = new TestPipeline(folder.path, redis);
    pipeline.#opened.use(folder);
    pipeline.#opened.use(redis);
    return pipeline;
  }

  /** Starts a worker process that serves `model`. Resolves when it is ready or killed: its first slice may kill it before it is ready. */
  async spawnWorker(options: Partial<WorkerProcessOptions> & { model: string }): Promise<ChildProcess> {
    const all: WorkerProcessOptions = {
      redis: { url: this.redis.url },
      roots: [this.folder],
      settings: FAST,
      kills: [],
      evidence: this.folder,
      ...options,
    };
    const script = fileURLToPath(new URL("../processes/worker-main.ts", import.meta.url));
    const child = spawn(process.execPath, [script, JSON.stringify(all)], { stdio: ["ignore", "pipe", "inherit"] });
    this.#opened.defer(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    });
    const ended = once(child, "exit").then(([code, signal]) => {
      if (signal !== "SIGKILL") throw new Error(`the worker process ended with ${code ?? signal} before it was ready`);
    });
    ended.catch(() => {});
    await Promise.race([once(child.stdout!, "data"), ended]);
    return child;
  }

  /**
   * Plans a run of one input and watches it until it ends.
   * @param settings of config.ts, which override the fast defaults
   */
  async run(
    request: RunRequest,
    settings: Record<string, unknown> = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<{ state: RunState; store: ObjectStore; runFile: RunFile; ledger: RunLedger }> {
    const { config, store, runFile, source } = await this.#open(request, settings);
    const redis = await openRedis(this.redis.address, "producer");
    this.#opened.defer(() => redis.disconnect());
    const subscriber = await openRedis(this.redis.address, "worker");
    this.#opened.defer(() => subscriber.disconnect());
    const ledger = new RunLedger(redis);
    const planner = new Planner(redis, ledger, runFile, store.uri, {
      lane: "bulk",
      windowSlices: config.windowSlices,
      retries: config,
      room: new RedisRoom(redis, config.fullMs, () => {}),
    });
    this.#opened.defer(() => planner.close());
    const changes = await RunChanges.open(new Channels(subscriber), runFile.run, 500);
    const slices = slicesOf(runFile, [source]);
    const state = await planAndWatch(
      { run: runFile.run, ledger, planner, changes, slices, onProgress: () => {} },
      signal,
    );
    return { state, store, runFile, ledger };
  }

  /** Submits a run of one input. A worker with a planner plans it. */
  async submit(
    request: RunRequest,
    settings: Record<string, unknown> = {},
  ): Promise<{ store: ObjectStore; runFile: RunFile; source: Source }> {
    const { config, store, runFile, source } = await this.#open(request, settings);
    const plans = new PlanQueue(await this.connection(), config);
    await plans.add(runFile.run, store.uri);
    await plans.close();
    return { store, runFile, source };
  }

  async #open(request: RunRequest, settings: Record<string, unknown>) {
    const config = loadConfig({ flags: { ...FAST, ...settings } });
    const { path, out, kind } = request;
    const open = kind === "text" ? openTextSource : openImageSource;
    const s3 = s3Of(config);
    this.#opened.defer(() => s3.close());
    const read = { format: "auto" as const, delimiter: null, column: null, idColumn: null, keep: request.keep ?? [] };
    const source = await open(path, read, s3);
    const store = await openStore(out.startsWith("s3:") ? out : this.output(out), s3);
    const wanted = runFileOf(await loadBuiltIn(request.model), config, source, request);
    const { runFile } = await openOutput(store, wanted);
    return { config, store, runFile, source };
  }

  /** Waits for the end of a run that another process plans. */
  async ended(run: string): Promise<RunState> {
    const changes = await RunChanges.open(new Channels(await this.connection()), run, 50);
    const ledger = new RunLedger(await this.connection());
    let state: RunState | undefined;
    await changes.until(async () => {
      state = await ledger.state(run);
      return state !== undefined && isEnded(state);
    }, AbortSignal.timeout(60_000));
    changes.close();
    return state!;
  }

  /** Starts a worker in this process. */
  async worker(settings: Partial<Config> = {}, options: TestWorkerOptions = {}): Promise<RunningWorker> {
    const { models = ["tiny-sentiment"], s3, s3Limits, ...rest } = options;
    const client = new S3(s3, s3Limits);
    this.#opened.defer(() => client.close());
    const worker = await startWorker({
      redis: this.redis.address,
      // The tuning results of a test must not reach the cache of the user.
      config: loadConfig({ flags: { ...FAST, cacheDir: join(this.folder, "cache"), ...settings } }),
      models: await Promise.all(models.map((model) => loadBuiltIn(model))),
      s3: client,
      roots: { files: [this.folder], s3: [] },
      log: createLogger(process.env.LABELMILL_TEST_LOG ?? "silent", false),
      ...rest,
    });
    this.#opened.defer(() => worker.close());
    return worker;
  }

  async producer(options: Partial<ProducerOptions> = {}): Promise<Producer> {
    const producer = await createProducer({ redisUrl: this.redis.url, output: this.output("labels"), ...options });
    return this.#opened.use(producer);
  }

  /** A separate connection for the test. */
  async connection(): Promise<Redis> {
    const redis = await openRedis(this.redis.address, "worker");
    this.#opened.defer(() => redis.disconnect());
    return redis;
  }

  /** The URI of an output: a folder in the folder of the pipeline. */
  output(name: string): string {
    return pathToFileURL(`${join(this.folder, name)}/`).href;
  }

  defer(release: () => void | Promise<void>): void {
    this.#opened.defer(release);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

function runFileOf(
  model: Model,
  config: ReturnType<typeof loadConfig>,
  { input, read }: Source,
  { path, settings, travels, output, keep = [] }: RunRequest,
): RunFile {
  const { id, revision, digest, dtype, task } = model;
  return newRunFile({
    spec: {
      model: { id, revision, digest, dtype, task },
      read: { format: "auto", delimiter: null, column: null, idColumn: null, keep },
      topK: 2,
      sliceItems: config.sliceItems ?? DEFAULT_SLICE_ITEMS,
      sliceBytes: config.sliceBytes,
      events: config.events,
      output: { ...PLAIN_OUTPUT, ...output },
    },
    ...(settings ? { settings } : {}),
    inputs: [{ input, read, from: path, ...(travels ? { travels } : {}) }],
  });
}
