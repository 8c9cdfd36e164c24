/** A worker of the service: what `labelmill worker` starts for one model, with default settings. */
import type { Config } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { isPartKey } from "../../src/schemas/names.ts";
import { MemoryStore } from "../../src/storage/memory.ts";
import { S3, type S3Settings } from "../../src/storage/s3/s3.ts";
import type { ObjectStore } from "../../src/storage/store.ts";
import type { WrappableSteps } from "../../src/workers/model-service.ts";
import { type RunningWorker, startWorker } from "../../src/workers/worker.ts";
import { defaultConfig } from "../config.ts";
import { openModel } from "../inputs/models.ts";
import { answerCalls } from "./calls.ts";
import { RssWatch } from "./rss.ts";

export type WorkerStart = {
  redis: string;
  model: string;
  s3: S3Settings;
  /** Where it stores the budgets that it finds. */
  cacheDir: string;
  /** What it may open. */
  roots: { files: string[]; s3: string[] };
  /** Empty work: every item has its label at once, and parts go into this process's memory. */
  empty?: boolean;
  /** Instead of onnxruntime: a model that costs nothing, or one that sleeps for each item. */
  stand?: keyof typeof THREADS;
  settings?: Partial<Config>;
};

const THREADS = {
  free: new URL("./free-thread.ts", import.meta.url),
  sleeping: new URL("./sleeping-thread.ts", import.meta.url),
} as const;

const opened = new AsyncDisposableStack();
const rss = opened.use(new RssWatch());
let started: RunningWorker | undefined;
/** Time of this worker's last slice event, in ms since 1970. All processes of a machine have the same clock. */
let lastSliceAt: number | undefined;

const calls = {
  /** @returns the threads that it labels with, and those that each of them has */
  start: async ({ redis, model: ref, s3: place, cacheDir, roots, empty, stand, settings }: WorkerStart) => {
    const config = { ...defaultConfig(), cacheDir, ...settings };
    const model = await openModel(ref);
    const s3 = new S3(place);
    opened.defer(() => s3.close());
    const worker = await startWorker({
      redis: { url: redis },
      config,
      models: [model],
      s3,
      log: createLogger(config.logLevel, false),
      roots,
      around: (parts) => noted(empty ? withoutWork(parts) : parts),
      ...(stand ? { thread: THREADS[stand] } : {}),
    });
    opened.defer(() => worker.close());
    started = worker;
    return worker.engines[0]!.layout;
  },

  /** Whether it has found how to run its model. */
  settled: async (_: Record<string, never>) => started!.engines[0]!.settled,

  /** Time of its last slice, in ms since 1970; undefined if it had none. */
  lastSlice: async (_: Record<string, never>) => lastSliceAt,

  /** Its memory since the last call, sampled every RSS_SAMPLE_MS. */
  rss: async (_: Record<string, never>) => rss.taken(),
};
export type WorkerCalls = typeof calls;

function noted({ steps, label }: WrappableSteps): WrappableSteps {
  const publish: typeof steps.publish = async (job, part) => {
    await steps.publish(job, part);
    lastSliceAt = Date.now();
  };
  return { steps: { ...steps, publish }, label };
}

function withoutWork({ steps }: WrappableSteps): WrappableSteps {
  const outputs = new Map<string, Promise<ObjectStore>>();
  const openOutput = (uri: string) => {
    const known = outputs.get(uri) ?? steps.openOutput(uri).then(partsInMemory);
    outputs.set(uri, known);
    return known;
  };
  return {
    steps: { ...steps, openOutput },
    label: async (items) => items.map(() => ({ labels: [{ label: "none", score: 1 }] })),
  };
}

/** The run's own files stay where they are. */
function partsInMemory(store: ObjectStore): ObjectStore {
  const parts = new MemoryStore("parts");
  const placeOf = (key: string) => (isPartKey(key) ? parts : store);
  return {
    uri: store.uri,
    conditionalWrites: store.conditionalWrites,
    get: (key) => placeOf(key).get(key),
    getWithEtag: (key) => placeOf(key).getWithEtag(key),
    head: (key) => placeOf(key).head(key),
    stream: (key) => placeOf(key).stream(key),
    put: (key, body) => placeOf(key).put(key, body),
    putIfAbsent: (key, body) => placeOf(key).putIfAbsent(key, body),
    replaceIf: (key, etag, body) => placeOf(key).replaceIf(key, etag, body),
    remove: (key) => placeOf(key).remove(key),
    list: (prefix) => store.list(prefix),
  };
}

answerCalls(calls, () => opened.disposeAsync());
