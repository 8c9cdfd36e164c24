import type { Redis } from "ioredis";
import { JOB_VERSION, KEY_PREFIX } from "../schemas/names.ts";
import { type ServedModel, type WorkerInfo, WorkerInfoSchema } from "../schemas/worker.ts";

/** How often a worker registers. */
export const BEAT_MS = 10_000;
/** The registration of a worker expires after three missed beats. */
export const EXPIRY_MS = 3 * BEAT_MS + 5_000;

const WORKERS_KEY = `${KEY_PREFIX}:workers`;

/** The registered workers. Redis measures the time, so the clocks of the workers do not have to agree. */
export class WorkerRegistry {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async beat(worker: WorkerInfo): Promise<void> {
    await this.#redis
      .multi()
      .set(workerKey(worker.id), JSON.stringify(worker), "PX", EXPIRY_MS)
      .sadd(WORKERS_KEY, worker.id)
      .exec();
  }

  async leave(id: string): Promise<void> {
    await this.#redis.multi().del(workerKey(id)).srem(WORKERS_KEY, id).exec();
  }

  /** The workers that are registered now, in the order of their start. Records of another version that cannot be read are skipped. */
  async workers(): Promise<WorkerInfo[]> {
    const ids = await this.#redis.smembers(WORKERS_KEY);
    if (ids.length === 0) return [];
    const records = await this.#redis.mget(ids.map(workerKey));
    const expired = ids.filter((_, i) => records[i] === null);
    if (expired.length > 0) await this.#redis.srem(WORKERS_KEY, ...expired);
    return records
      .flatMap((record) => parseWorker(record) ?? [])
      .sort((a, b) => a.startedAt.localeCompare(b.startedAt));
  }
}

/** Whether a worker takes the jobs that are queued now. An older worker does not. */
export function isCurrent({ jobVersions = [2] }: Pick<WorkerInfo, "jobVersions">): boolean {
  return jobVersions.includes(JOB_VERSION);
}

/** The workers that serve this version of a model and take the jobs that are queued now. */
export function serving(workers: readonly WorkerInfo[], digest: string): WorkerInfo[] {
  return workers.filter((worker) => isCurrent(worker) && worker.models.some((model) => model.digest === digest));
}

/** Every version of a model that workers serve, each once. `id@digest` selects a version by the start of its digest. */
export function servedAs(workers: readonly WorkerInfo[], name: string): ServedModel[] {
  const [id, digest = ""] = name.split("@");
  const found = workers.flatMap(({ models }) =>
    models.filter((model) => model.id === id && model.digest.startsWith(digest)),
  );
  return [...new Map(found.map((model) => [model.digest, model])).values()];
}

function parseWorker(record: string | null): WorkerInfo | undefined {
  if (record === null) return undefined;
  try {
    return WorkerInfoSchema.parse(JSON.parse(record));
  } catch {
    return undefined;
  }
}

function workerKey(id: string): string {
  return `${KEY_PREFIX}:worker:${id}`;
}
