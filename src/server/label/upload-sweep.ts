import type { Redis } from "ioredis";
import { WorkerRegistry } from "../../fleet/registry.ts";
import type { Logger } from "../../logger.ts";
import { existingJobs } from "../../runs/queues/job-states.ts";
import {
  ACCEPTED_FOLDER,
  jobId,
  LANES,
  parseUploadKey,
  queueName,
  UPLOADS_FOLDER,
  uploadEndedKey,
} from "../../schemas/names.ts";
import type { ObjectStore } from "../../storage/store.ts";
import type { DeclaredModels } from "../models/declared-models.ts";

const SWEEP_MS = 3_600_000;
/** Uploads whose runs are checked in one round trip. */
const CHUNK = 200;

export type SweepDeps = {
  store: ObjectStore;
  redis: Redis;
  models: DeclaredModels;
  log: Logger;
  /** How long uploads stay after the end of their run, in ms. */
  keepMs: number;
};

type StoredUpload = { upload: string; run: string; keys: string[]; ended: { key: string; seconds: number }[] };

/**
 * Removes uploaded images some time after their run has ended. When a sweep first finds the run ended, it writes an object that says so:
 * a later sweep, after a restart or by another server, counts from there. Sweeps of several servers at a time do the same things.
 */
export class UploadSweep {
  readonly #deps: SweepDeps;
  readonly #now: () => number;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(deps: SweepDeps, now: () => number = Date.now) {
    this.#deps = deps;
    this.#now = now;
  }

  /** Sweeps now, and every hour. */
  start(): void {
    const sweep = () => {
      this.#running = this.sweep().catch((error: unknown) => {
        if (!this.#closing.signal.aborted)
          this.#deps.log.warn({ err: error }, "old uploads not removed: trying again in an hour");
      });
    };
    this.#timer = setInterval(sweep, SWEEP_MS);
    sweep();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#timer);
    await this.#running;
  }

  /** @returns the number of uploads that were removed @throws the error of the store or of Redis; a later sweep continues */
  async sweep(): Promise<number> {
    const accepted = await this.#accepted();
    const queues = await this.#queues();
    let removed = 0;
    for await (const uploads of this.#uploads()) {
      const waiting = await this.#waiting(uploads, queues);
      for (const upload of uploads) {
        if (this.#closing.signal.aborted) return removed;
        const isDone = !accepted.has(upload.run) && !waiting.has(upload.run);
        if (await this.#settle(upload, isDone)) removed += 1;
      }
    }
    return removed;
  }

  /** @returns whether the upload was removed */
  async #settle({ upload, keys, ended }: StoredUpload, isDone: boolean): Promise<boolean> {
    const { store, keepMs, log } = this.#deps;
    const seconds = Math.floor(this.#now() / 1000);
    if (!isDone) {
      // It was found ended before its run was accepted.
      for (const { key } of ended) await store.remove(key);
      return false;
    }
    if (ended.length === 0) {
      await store.putIfAbsent(uploadEndedKey(upload, seconds), new Uint8Array());
      return false;
    }
    if (ended.some((each) => (seconds - each.seconds) * 1000 < keepMs)) return false;
    // The object that names the end comes last: a sweep that dies before is continued by the next one.
    for (const key of keys) await store.remove(key);
    for (const { key } of ended) await store.remove(key);
    log.info({ upload }, "old upload removed");
    return true;
  }

  /** The runs in the journal: they have not ended, or their webhooks are not delivered. */
  async #accepted(): Promise<Set<string>> {
    const runs = new Set<string>();
    for await (const { key } of this.#deps.store.list(ACCEPTED_FOLDER))
      runs.add(key.slice(ACCEPTED_FOLDER.length).replace(/\.json$/, ""));
    return runs;
  }

  /** The queues that may have a job of an upload. */
  async #queues(): Promise<Set<string>> {
    const { redis, models } = this.#deps;
    const workers = await new WorkerRegistry(redis).workers();
    const known = [...models.all.map(({ pin }) => pin), ...workers.flatMap((worker) => worker.models)];
    return new Set(known.flatMap((model) => LANES.map((lane) => queueName(model, lane))));
  }

  /** The runs that have a job in Redis. */
  async #waiting(uploads: readonly StoredUpload[], queues: ReadonlySet<string>): Promise<Set<string>> {
    const runs = new Map(uploads.map(({ run }) => [jobId(run, 0), run]));
    const found = new Set<string>();
    for (const queue of queues)
      for (const id of await existingJobs(this.#deps.redis, queue, [...runs.keys()])) found.add(runs.get(id)!);
    return found;
  }

  /** The uploads in the store, some at a time. Their keys are next to each other in a list. */
  async *#uploads(): AsyncGenerator<StoredUpload[]> {
    let some: StoredUpload[] = [];
    for await (const { key } of this.#deps.store.list(UPLOADS_FOLDER)) {
      const parsed = parseUploadKey(key);
      if (!parsed) continue;
      const last = some.at(-1);
      if (last?.upload !== parsed.upload) {
        if (some.length === CHUNK) {
          yield some;
          some = [];
        }
        some.push({ upload: parsed.upload, run: parsed.upload, keys: [], ended: [] });
      }
      const upload = some.at(-1)!;
      if ("ended" in parsed) upload.ended.push({ key, seconds: parsed.ended });
      else upload.keys.push(key);
      if ("run" in parsed) upload.run = parsed.run;
    }
    if (some.length > 0) yield some;
  }
}
