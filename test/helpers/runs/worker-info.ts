import { randomBytes } from "node:crypto";
import { SCHEMA_VERSION } from "../../../src/schemas/names.ts";
import type { ModelWork, ServedModel, WorkerInfo } from "../../../src/schemas/worker.ts";

/** A worker as it registers, without a worker: it serves the models given, or one that nobody else has. */
export function workerInfo(given: Partial<WorkerInfo> = {}): WorkerInfo {
  return {
    v: SCHEMA_VERSION,
    id: randomBytes(8).toString("hex"),
    host: "here",
    pid: process.pid,
    software: "labelmill 0.0.0",
    startedAt: new Date().toISOString(),
    models: [servedModel()],
    fileRoots: [],
    s3Roots: [],
    ...given,
  };
}

export function servedModel(given: Partial<ServedModel> = {}): ServedModel {
  return {
    id: "somebody-elses",
    revision: "local",
    digest: randomBytes(32).toString("hex"),
    dtype: "fp32",
    task: "text-classification",
    labels: 3,
    device: "cpu",
    slots: 2,
    itemsPerSecond: null,
    batches: 0,
    items: 0,
    held: 0,
    ...given,
  };
}

/** Of a model that has done nothing yet. */
export function modelWork(given: Partial<ModelWork> = {}): ModelWork {
  const never = { count: 0, meanMs: null };
  return {
    threads: 1,
    intraOpThreads: 1,
    busy: { sinceStart: null, lastMinute: null },
    paddingEfficiency: null,
    meanBatch: null,
    cuts: { full: 0, drained: 0, lengths: 0 },
    budgets: {},
    settled: false,
    depth: 0,
    stages: { wait: never, fetch: never, prepare: never, queue: never, infer: never, write: never },
    ...given,
  };
}
