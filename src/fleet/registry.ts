import type { Redis } from "ioredis";
import { JOB_VERSION, KEY_PREFIX } from "../schemas/names.ts";
import {
  type LastServed,
  LastServedSchema,
  type ServedModel,
  type WorkerInfo,
  WorkerInfoSchema,
} from "../schemas/worker.ts";

/** How often a worker registers. */
export const BEAT_MS = 10_000;
/** The registration of a worker expires after three missed beats. */
export const EXPIRY_MS = 3 * BEAT_MS + 5_000;

/** How long a model is known after its last registration. */
const KNOWN_MS = 30 * 24 * 3_600_000;

/** The last registration of each model, and its last measured rate in items per second, by digest. */
const LAST_KEY = `${KEY_PREFIX}:models:last`;
const RATES_KEY = `${KEY_PREFIX}:models:rates`;

const WORKERS_KEY = `${KEY_PREFIX}:workers`;

/** The registered workers. Redis measures the time, so the clocks of the workers do not have to agree. */
export class WorkerRegistry {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async beat(worker: WorkerInfo): Promise<void> {
    const commands = this.#redis
      .multi()
      .set(workerKey(worker.id), JSON.stringify(worker), "PX", EXPIRY_MS)
      .sadd(WORKERS_KEY, worker.id);
    const seenAt = new Date().toISOString();
    for (const { id, revision, digest, dtype, task, labels, itemsPerSecond } of worker.models) {
      const model = { id, revision, digest, dtype, task, labels, seenAt };
      commands.hset(LAST_KEY, digest, JSON.stringify(model satisfies Omit<LastServed, "itemsPerSecond">));
      // A worker that has just started has not measured: the rate before stays.
      if (itemsPerSecond) commands.hset(RATES_KEY, digest, itemsPerSecond);
    }
    await commands.exec();
  }

  /** The models that workers served in the last 30 days, each as its last worker registered it. */
  async lastServed(): Promise<LastServed[]> {
    const [models, rates] = await Promise.all([this.#redis.hgetall(LAST_KEY), this.#redis.hgetall(RATES_KEY)]);
    const found = Object.entries(models).map(([digest, record]) => ({
      digest,
      last: parseLast(record, rates[digest]),
    }));
    const forgotten = found.filter(({ last }) => !last).map(({ digest }) => digest);
    if (forgotten.length > 0)
      await this.#redis
        .multi()
        .hdel(LAST_KEY, ...forgotten)
        .hdel(RATES_KEY, ...forgotten)
        .exec();
    return found.flatMap(({ last }) => last ?? []);
  }

  /** The last registration of a model. Undefined if no worker served it in the last 30 days, or Redis was emptied. */
  async lastOf(digest: string): Promise<LastServed | undefined> {
    const [record, rate] = await Promise.all([this.#redis.hget(LAST_KEY, digest), this.#redis.hget(RATES_KEY, digest)]);
    return record === null ? undefined : parseLast(record, rate);
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

/** @returns undefined for a record that is too old, or that cannot be read */
function parseLast(record: string, rate: string | null | undefined): LastServed | undefined {
  try {
    const last = LastServedSchema.parse({ ...JSON.parse(record), itemsPerSecond: rate ? Number(rate) : null });
    return Date.now() - Date.parse(last.seenAt) <= KNOWN_MS ? last : undefined;
  } catch {
    return undefined;
  }
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
