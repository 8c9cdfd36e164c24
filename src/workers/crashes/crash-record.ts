import type { ChainableCommander, Redis } from "ioredis";
import type { Heartbeat } from "../../fleet/heartbeat.ts";
import { KEY_PREFIX } from "../../schemas/names.ts";
import { AttemptRecord, type AttemptStore } from "./attempt-record.ts";
import { type Attempt, AttemptSchema, deviceLosses, evidenceOf, obsolete, unfinishedStarts } from "./evidence.ts";

export type SliceRef = { run: string; slice: number };

/** A slice that lost its worker this often runs alone. */
export const CRASHES_UNTIL_ISOLATED = 2;

/**
 * Evidence about slices whose worker's process died, so that an item that kills it is found. It must outlive the process: it
 * is kept in Redis, or beside the output where Redis dies with the command.
 */
export interface CrashRecord {
  /**
   * Begins a try of a slice.
   * @param again whether the slice was given out before; if not, nothing is looked up
   */
  take(slice: SliceRef, again: boolean, signal: AbortSignal): Promise<AttemptRecord>;
}

/** Evidence of a slice that nobody takes again is dropped after this time. It begins anew with each try. */
const KEPT_MS = 30 * 24 * 3600 * 1000;

/**
 * Two keys for a slice under way. `holder` names the first try: it is written without waiting for the answer, and is all that a slice costs
 * that is done at its first try. `tries` is a hash of all tries that are to be told apart, a field each, which only its own process writes.
 */
export class RedisCrashRecord implements CrashRecord {
  readonly #redis: Redis;
  readonly #heartbeat: Heartbeat;
  #count = 0;

  /** @param heartbeat this process's: its start signs the tries */
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
      return await this.#look(ref, id, first.entry, store, signal);
    } catch (error) {
      await first.giveBack().catch(() => {});
      throw error;
    }
  }

  /** The first try, as far as this process knows. A Redis that cannot note it, being out of memory, must cost the slice nothing. */
  async #claim(ref: SliceRef, id: string, entry: Attempt): Promise<void> {
    const { holder, tries } = keysOf(ref);
    try {
      if ((await this.#redis.set(holder, id, "PX", KEPT_MS, "NX")) !== null) return;
      // The job is new and its slice is not: a run planned anew. What this try says by itself goes first.
      await this.#redis.multi().hsetnx(tries, id, JSON.stringify(entry)).pexpire(tries, KEPT_MS).exec();
    } catch {}
  }

  async #look(
    ref: SliceRef,
    id: string,
    entry: Attempt,
    store: AttemptStore,
    signal: AbortSignal,
  ): Promise<AttemptRecord> {
    const { start } = this.#heartbeat;
    const { holder, tries: triesKey } = keysOf(ref);
    const [first, found] = await answersOf(
      this.#redis
        .pipeline()
        .get(holder)
        .hgetall(triesKey)
        .set(holder, id, "PX", KEPT_MS, "NX")
        .hset(triesKey, id, JSON.stringify(entry))
        .pexpire(holder, KEPT_MS)
        .pexpire(triesKey, KEPT_MS),
    );
    const tries = readAttempts(first, found);
    const silent = unfinishedStarts(tries, start);
    const losses = deviceLosses(tries);
    // Who died matters only where it makes a difference.
    const isOpen = silent.size + losses >= CRASHES_UNTIL_ISOLATED;
    const dead = isOpen ? await this.#heartbeat.dead(silent, signal) : new Set<string>();
    const trial = new AttemptRecord(start, store, evidenceOf(tries, dead), losses);
    const useless = obsolete(tries, trial.evidence);
    if (useless.length > 0) {
      await store.save(trial.entry);
      await this.#redis.hdel(triesKey, ...useless);
    }
    return trial;
  }

  #storeOf(ref: SliceRef, id: string): AttemptStore {
    const { holder, tries } = keysOf(ref);
    return {
      save: async (entry) => {
        const write = this.#redis.multi().hset(tries, id, JSON.stringify(entry)).pexpire(tries, KEPT_MS);
        for (const [error] of (await write.exec()) ?? []) if (error) throw error;
      },
      // What is not forgotten now is when its time is over: nobody need wait for it.
      forget: async () => void this.#redis.del(holder, tries).catch(() => {}),
    };
  }
}

/** The first two answers; what could not be read, or written after them, is not there. */
async function answersOf(asked: ChainableCommander): Promise<[unknown, unknown]> {
  const [first, second] = (await asked.exec()) ?? [];
  return [first?.[1], second?.[1]];
}

/** Tries by their ids. What another version wrote and this one cannot read is passed over. */
function readAttempts(first: unknown, found: unknown): Map<string, Attempt> {
  const tries = new Map<string, Attempt>();
  const start = typeof first === "string" ? /^([^.]+)\.\d+$/.exec(first)?.[1] : undefined;
  if (start) tries.set(first as string, { start, at: null, after: 0, through: [] });
  for (const [id, text] of Object.entries((found ?? {}) as Record<string, string>)) {
    const entry = parseAttempt(text);
    if (entry) tries.set(id, entry);
  }
  return tries;
}

export function parseAttempt(text: string): Attempt | undefined {
  try {
    return AttemptSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function keysOf({ run, slice }: SliceRef): { holder: string; tries: string } {
  const name = `${KEY_PREFIX}:slice:${run}-${slice}`;
  return { holder: `${name}:holder`, tries: `${name}:tries` };
}
