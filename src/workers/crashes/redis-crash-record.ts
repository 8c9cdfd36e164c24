import type { ChainableCommander, Redis } from "ioredis";
import type { Heartbeat } from "../../fleet/heartbeat.ts";
import { KEY_PREFIX } from "../../schemas/names.ts";
import { AttemptRecord, type AttemptStore } from "./attempt-record.ts";
import { CRASHES_UNTIL_ISOLATED, type CrashRecord, parseAttempt, type SliceRef } from "./crash-record.ts";
import { type AttemptEntry, deviceLosses, evidenceOf, obsolete, unfinishedStarts } from "./evidence.ts";

/** Evidence of a slice is deleted this long after its last attempt: 30 days. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;

/**
 * The crash record of a worker, in two keys for each running slice:
 *
 * - `holder` names the first attempt. It is written without waiting for the answer. A slice that succeeds at its first
 *   attempt costs no more than this.
 * - `tries` is a hash with a field for each later attempt, and for a first attempt that records more than its start.
 *   Only the process of an attempt writes its field.
 */
export class RedisCrashRecord implements CrashRecord {
  readonly #redis: Redis;
  readonly #heartbeat: Heartbeat;
  #count = 0;

  /** @param heartbeat of this process; its `start` identifies the process in the attempts */
  constructor(redis: Redis, heartbeat: Heartbeat) {
    this.#redis = redis;
    this.#heartbeat = heartbeat;
  }

  async take(ref: SliceRef, again: boolean, signal: AbortSignal): Promise<AttemptRecord> {
    const { start } = this.#heartbeat;
    const id = `${start}.${++this.#count}`;
    const store = this.#storeOf(ref, id);
    const first = new AttemptRecord(start, store);
    if (!again) {
      void this.#claim(ref, id, first.entry);
      return first;
    }
    try {
      return await this.#lookUp(ref, id, first.entry, store, signal);
    } catch (error) {
      await first.giveBack().catch(() => {});
      throw error;
    }
  }

  /**
   * Records what this process takes for the first attempt. If Redis is out of memory and cannot record it, the slice
   * runs all the same.
   */
  async #claim(ref: SliceRef, id: string, entry: AttemptEntry): Promise<void> {
    const { holder, tries } = keysOf(ref);
    try {
      if ((await this.#redis.set(holder, id, "PX", MAX_AGE_MS, "NX")) !== null) return;
      // The job is new, the slice is not: its run was planned again. `hsetnx`: keep what the attempt has saved
      // meanwhile.
      await this.#redis.multi().hsetnx(tries, id, JSON.stringify(entry)).pexpire(tries, MAX_AGE_MS).exec();
    } catch {}
  }

  async #lookUp(
    ref: SliceRef,
    id: string,
    entry: AttemptEntry,
    store: AttemptStore,
    signal: AbortSignal,
  ): Promise<AttemptRecord> {
    const { start } = this.#heartbeat;
    const { holder, tries } = keysOf(ref);
    const [first, others] = await firstTwoAnswers(
      this.#redis
        .pipeline()
        .get(holder)
        .hgetall(tries)
        .set(holder, id, "PX", MAX_AGE_MS, "NX")
        .hset(tries, id, JSON.stringify(entry))
        .pexpire(holder, MAX_AGE_MS)
        .pexpire(tries, MAX_AGE_MS),
    );
    const attempts = readAttempts(first, others);
    const unfinished = unfinishedStarts(attempts, start);
    const losses = deviceLosses(attempts);
    // Which processes are dead matters only if there may be enough crashes to isolate the slice.
    const mayIsolate = unfinished.size + losses >= CRASHES_UNTIL_ISOLATED;
    const dead = mayIsolate ? await this.#heartbeat.dead(unfinished, signal) : new Set<string>();
    const record = new AttemptRecord(start, store, evidenceOf(attempts, dead), losses);
    const useless = obsolete(attempts, record.evidence);
    if (useless.length > 0) {
      await store.save(record.entry);
      await this.#redis.hdel(tries, ...useless);
    }
    return record;
  }

  #storeOf(ref: SliceRef, id: string): AttemptStore {
    const { holder, tries } = keysOf(ref);
    return {
      save: async (entry) => {
        const write = this.#redis.multi().hset(tries, id, JSON.stringify(entry)).pexpire(tries, MAX_AGE_MS);
        for (const [error] of (await write.exec()) ?? []) if (error) throw error;
      },
      // Not awaited: keys that are not deleted now expire.
      forget: async () => void this.#redis.del(holder, tries).catch(() => {}),
    };
  }
}

/** The first two answers. A command that failed, because it could not be read or written, has none. */
async function firstTwoAnswers(commands: ChainableCommander): Promise<[unknown, unknown]> {
  const [first, second] = (await commands.exec()) ?? [];
  return [first?.[1], second?.[1]];
}

/** Attempts by their ids. Attempts that another version wrote and this one cannot parse are ignored. */
function readAttempts(first: unknown, others: unknown): Map<string, AttemptEntry> {
  const attempts = new Map<string, AttemptEntry>();
  const start = typeof first === "string" ? /^([^.]+)\.\d+$/.exec(first)?.[1] : undefined;
  if (start) attempts.set(first as string, { start, at: null, after: 0, through: [] });
  for (const [id, text] of Object.entries((others ?? {}) as Record<string, string>)) {
    const entry = parseAttempt(text);
    if (entry) attempts.set(id, entry);
  }
  return attempts;
}

function keysOf({ run, slice }: SliceRef): { holder: string; tries: string } {
  const name = `${KEY_PREFIX}:slice:${run}-${slice}`;
  return { holder: `${name}:holder`, tries: `${name}:tries` };
}
