import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../schemas/names.ts";

/** Beats per time to live of the key. */
const BEATS = 5;
const MIN_TTL_MS = 2_000;
const MAX_TTL_MS = 5_000;
/** After this many times to live, a process whose state is still unknown counts as alive. */
const MAX_TTLS = 12;
/** The value of the key after a regular end of the process, and its time to live. */
const LEFT = "left";
const LEFT_MS = 24 * 3600 * 1000;

/** The time to live of the key of a process, in ms. It ends before another worker gets the slice, which would otherwise have to wait. */
export function heartbeatTtlMs(lockMs: number): number {
  return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, Math.ceil(lockMs / 2)));
}

/**
 * Detects which processes are alive, so that a slice that moves to another worker counts as a crash only after a crash. Each start of a process
 * has an id and a key in Redis, which it sets at every beat. A missing key alone proves nothing: Redis may have stopped for a while, or lost
 * its data, and living processes are about to set their keys. So a missing key counts only while this process's own key exists without a gap.
 */
export class Heartbeat {
  readonly start: string;
  readonly #redis: Redis;
  readonly #ttlMs: number;
  #count = 0;
  /** The time by `performance.now()` since which every beat of this process was in time; undefined if the last beat failed. */
  #steadySince: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The running beat. During a long outage, waiting beats must not accumulate. */
  #beating: Promise<void> | undefined;

  /**
   * @param start the id of this start of the process
   * @param ttlMs the time to live of the key, in ms
   */
  constructor(redis: Redis, start: string, ttlMs: number) {
    this.#redis = redis;
    this.start = start;
    this.#ttlMs = ttlMs;
  }

  /** Starts the beats. Resolves after the first one; the process must not take a slice before. */
  async begin(): Promise<void> {
    this.#timer = setInterval(() => void this.beat(), this.#ttlMs / BEATS).unref();
    await this.beat();
  }

  /** Sends a beat now, or waits for the running one. Resolves after its success or failure. */
  async beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
    await this.#beating;
  }

  /**
   * Marks a regular end of the process, so that its unfinished slices do not count as lost by a crash.
   * @param reachable false if Redis is unavailable; the end is then not marked
   */
  async end(reachable: boolean): Promise<void> {
    clearInterval(this.#timer);
    if (!reachable) return;
    await this.#beating;
    await this.#redis.set(keyOf(this.start), LEFT, "PX", LEFT_MS).catch(() => {});
  }

  /**
   * Returns which of these starts are dead. Waits until this is certain: a new beat has arrived, or none can have been missed. A process that
   * lost its connection for longer counts as dead until its next beat. Rejects if `signal` aborts.
   */
  async dead(starts: Iterable<string>, signal: AbortSignal): Promise<Set<string>> {
    const dead = new Set<string>();
    const seen = new Map<string, string | null>();
    let open = [...new Set(starts)];
    const deadline = performance.now() + MAX_TTLS * this.#ttlMs;
    while (open.length > 0 && performance.now() < deadline) {
      const sentAt = performance.now();
      const beats = await this.#redis.mget(open.map(keyOf));
      // A slow reply may be older than an outage that this process has not noticed yet.
      const isSure = this.#isSteady() && performance.now() - sentAt < this.#ttlMs / 2;
      open = open.filter((start, i) => {
        const beat = beats[i] ?? null;
        const before = seen.get(start);
        if (beat === LEFT || (beat !== null && before && before !== beat)) return false;
        if (beat === null && !isSure) seen.delete(start);
        else seen.set(start, beat);
        if (beat !== null || !isSure || before !== null) return true;
        dead.add(start);
        return false;
      });
      if (open.length > 0) await delay(this.#ttlMs / BEATS, undefined, { signal });
    }
    return dead;
  }

  #isSteady(): boolean {
    return this.#steadySince !== undefined && performance.now() - this.#steadySince >= this.#ttlMs;
  }

  /** A failed beat is not retried: the next one follows. */
  async #beat(): Promise<void> {
    this.#count += 1;
    try {
      const before = await this.#redis.set(keyOf(this.start), this.#count, "PX", this.#ttlMs, "GET");
      if (before === null) this.#steadySince = performance.now();
    } catch {
      this.#steadySince = undefined;
    }
  }
}

function keyOf(start: string): string {
  return `${KEY_PREFIX}:alive:${start}`;
}
