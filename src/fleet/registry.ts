import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../schemas/names.ts";
import { type ServedModel, type WorkerInfo, WorkerInfoSchema } from "../schemas/worker.ts";

/** A worker tells of itself this often. */
export const BEAT_MS = 10_000;
/** Redis forgets a worker that missed three beats. */
const FORGOTTEN_AFTER_MS = 3 * BEAT_MS + 5_000;

const WORKERS_KEY = `${KEY_PREFIX}:workers`;

/** The workers that are there, as they tell of themselves. Redis counts the time, so no two clocks have to agree. */
export class WorkerRegistry {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async beat(worker: WorkerInfo): Promise<void> {
    await this.#redis
      .multi()
      .set(workerKey(worker.id), JSON.stringify(worker), "PX", FORGOTTEN_AFTER_MS)
      .sadd(WORKERS_KEY, worker.id)
      .exec();
  }

  async leave(id: string): Promise<void> {
    await this.#redis.multi().del(workerKey(id)).srem(WORKERS_KEY, id).exec();
  }

  /** Those who are there now, in the order of their start. What another version wrote and this one cannot read is passed over. */
  async workers(): Promise<WorkerInfo[]> {
    const ids = await this.#redis.smembers(WORKERS_KEY);
    if (ids.length === 0) return [];
    const records = await this.#redis.mget(ids.map(workerKey));
    const gone = ids.filter((_, i) => records[i] === null);
    if (gone.length > 0) await this.#redis.srem(WORKERS_KEY, ...gone);
    return records
      .flatMap((record) => parseWorker(record) ?? [])
      .sort((a, b) => a.startedAt.localeCompare(b.startedAt));
  }
}

/** Who serves this version of a model. */
export function serving(workers: readonly WorkerInfo[], digest: string): WorkerInfo[] {
  return workers.filter(({ models }) => models.some((model) => model.digest === digest));
}

/** Every version of a model of this name that somebody serves, each once. `id@digest` names one by the beginning of its digest. */
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
