import { randomBytes } from "node:crypto";
import { SCHEMA_VERSION, SERVED_JOB_VERSIONS } from "../../../src/schemas/names.ts";
import type { ModelWork, ServedModel, WorkerInfo } from "../../../src/schemas/worker.ts";

/** The registration of a worker that does not run. It serves the given models. Default: one model with a random digest. */
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
    jobVersions: [...SERVED_JOB_VERSIONS],
    ...given,
  };
}

export function servedModel(given: Partial<ServedModel> = {}): ServedModel {
  return {
    id: "other-model",
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

/** The work of a model that has labeled nothing yet. */
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
