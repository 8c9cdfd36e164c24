import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../src/config.ts";
import { loadModel, type Model } from "../../src/inference/model.ts";
import { driveRun } from "../../src/producers/drive.ts";
import { Planner } from "../../src/producers/planner.ts";
import { openRedis } from "../../src/redis/connect.ts";
import type { EmbeddedRedis } from "../../src/redis/embedded.ts";
import { RunLedger } from "../../src/runs/ledger.ts";
import { openOutput } from "../../src/runs/output.ts";
import { RunChanges } from "../../src/runs/watch.ts";
import type { RunFile, RunState } from "../../src/schemas/run.ts";
import { openImageSource } from "../../src/sources/images.ts";
import { cutSlices } from "../../src/sources/slices.ts";
import type { Source } from "../../src/sources/source.ts";
import { openTextSource } from "../../src/sources/text.ts";
import { FsStore } from "../../src/storage/fs.ts";
import { startTestRedis } from "./redis.ts";
import type { WorkerProcessOptions } from "./worker-main.ts";

export const MODELS = fileURLToPath(new URL("../../models/", import.meta.url));

/** Times that make a lost worker noticed in about a second. */
export const FAST = { lockMs: 1000, stallCheckMs: 500, backoffMs: 100 };

/** A temporary folder, gone at the end. */
export async function temporaryFolder(): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "lm-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A CSV of texts, no two alike, of different lengths. */
export async function writeTexts(path: string, count: number): Promise<string> {
  const moods = ["good", "bad", "great", "awful", "fine", "boring"];
  const lines = Array.from({ length: count }, (_, i) => `${i},it was ${moods[i % 6]}${" really".repeat(i % 9)} ${i}`);
  await writeFile(path, `id,text\n${lines.join("\n")}\n`);
  return path;
}

/** Redis, a run under way and worker processes: what a test of the whole pipeline needs, closed in reverse order. */
export class TestPipeline implements AsyncDisposable {
  readonly folder: string;
  readonly redis: EmbeddedRedis;
  readonly #opened = new AsyncDisposableStack();

  private constructor(folder: string, redis: EmbeddedRedis) {
    this.folder = folder;
    this.redis = redis;
  }

  static async open(): Promise<TestPipeline> {
    const folder = await temporaryFolder();
    const redis = await startTestRedis();
    const pipeline = new TestPipeline(folder.path, redis);
    pipeline.#opened.use(folder);
    pipeline.#opened.use(redis);
    return pipeline;
  }

  /** A worker process that serves `model`; resolves when it is ready. */
  async spawnWorker(options: Partial<WorkerProcessOptions> & { model: string }): Promise<ChildProcess> {
    const all: WorkerProcessOptions = {
      redis: this.redis.address,
      roots: [this.folder],
      settings: FAST,
      kills: [],
      evidence: this.folder,
      ...options,
    };
    const script = fileURLToPath(new URL("worker-main.ts", import.meta.url));
    const child = spawn(process.execPath, [script, JSON.stringify(all)], { stdio: ["ignore", "pipe", "inherit"] });
    this.#opened.defer(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    });
    const ended = once(child, "exit").then(([code, signal]) => {
      throw new Error(`the worker process ended with ${code ?? signal} before it was ready`);
    });
    ended.catch(() => {});
    await Promise.race([once(child.stdout!, "data"), ended]);
    return child;
  }

  /**
   * Plans a run of one input and stays with it to its end.
   * @param settings of config.ts, over the fast ones
   */
  async run(
    input: { kind: "text" | "images"; path: string; model: string; out: string },
    settings: Record<string, unknown> = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<{ state: RunState; store: FsStore; runFile: RunFile; ledger: RunLedger }> {
    const config = loadConfig({ flags: { ...FAST, ...settings } });
    const model = await loadModel(input.model, MODELS);
    const open = input.kind === "text" ? openTextSource : openImageSource;
    const source = await open(input.path, { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] });
    const store = await FsStore.open(join(this.folder, input.out));
    const { runFile } = await openOutput(store, runFileOf(model, config, source));
    const redis = await openRedis(this.redis.address, "producer");
    this.#opened.defer(() => redis.disconnect());
    const subscriber = await openRedis(this.redis.address, "worker");
    this.#opened.defer(() => subscriber.disconnect());
    const ledger = new RunLedger(redis);
    const planner = new Planner(redis, ledger, runFile, store.uri, {
      lane: "bulk",
      windowSlices: config.windowSlices,
      retries: config,
    });
    this.#opened.defer(() => planner.close());
    const changes = await RunChanges.open(subscriber, runFile.run, 500);
    const slices = () => cutSlices([source], { items: config.sliceItems, bytes: config.sliceBytes });
    const state = await driveRun({ run: runFile.run, ledger, planner, changes, slices, onProgress: () => {} }, signal);
    return { state, store, runFile, ledger };
  }

  defer(release: () => void | Promise<void>): void {
    this.#opened.defer(release);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

function runFileOf(model: Model, config: ReturnType<typeof loadConfig>, { input, read }: Source): RunFile {
  const { id, revision, digest, dtype, task } = model;
  return {
    schemaVersion: 1,
    run: randomBytes(8).toString("hex"),
    createdAt: new Date().toISOString(),
    software: "test",
    spec: {
      model: { id, revision, digest, dtype, task },
      read: { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] },
      topK: 2,
      sliceItems: config.sliceItems,
      sliceBytes: config.sliceBytes,
      events: config.events,
    },
    inputs: [{ ...input, read: { format: read.format, delimiter: read.delimiter, column: read.column } }],
  };
}
