import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../schemas/names.ts";

/** Beats within the time after which Redis forgets a process. */
const BEATS = 5;
const LEAST_MS = 2_000;
const MOST_MS = 5_000;
/** A process whose fate is not known after so many times that time is taken for alive. */
const LONGEST_LOOK = 12;
/** What stands in the place of a beat once the process has ended in good order, and how long. */
const LEFT = "left";
const LEFT_MS = 24 * 3600 * 1000;

/** How long Redis remembers a process, in ms. Not longer than it takes to give a slice to another one: that one would have to wait. */
export function rememberedMs(lockMs: number): number {
  return Math.min(MOST_MS, Math.max(LEAST_MS, Math.ceil(lockMs / 2)));
}

/**
 * Tells which processes are alive, so that a slice that changes hands counts as a death only if there was one. Each start of a process has an
 * id, and a key in Redis that it sets anew again and again. A key that is gone proves nothing by itself: Redis may have stood still, or
 * have lost everything, and those who are alive are about to say so. So it counts only while this process's own key has been there without a gap.
 */
export class Heartbeat {
  readonly start: string;
  readonly #redis: Redis;
  readonly #ttlMs: number;
  #count = 0;
  /** Since when Redis has had every beat of this process in time, by `performance.now()`; undefined if the last one failed. */
  #steadySince: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The beat under way. An outage may last: beats that wait for its end must not pile up. */
  #beating: Promise<void> | undefined;

  /**
   * @param start the id of this start of the process
   * @param ttlMs Redis forgets a process that it has not heard of for this long
   */
  constructor(redis: Redis, start: string, ttlMs: number) {
    this.#redis = redis;
    this.start = start;
    this.#ttlMs = ttlMs;
  }

  /** Resolves after the first beat: no slice is to be taken before. */
  async begin(): Promise<void> {
    this.#timer = setInterval(() => void this.beat(), this.#ttlMs / BEATS).unref();
    await this.beat();
  }

  /** Beats out of turn, unless a beat is under way. Resolves when Redis has had it, or could not be told. */
  async beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
    await this.#beating;
  }

  /**
   * The process ends in good order: what it holds still was not lost by a death.
   * @param reachable false: Redis is gone, and cannot be told
   */
  async end(reachable: boolean): Promise<void> {
    clearInterval(this.#timer);
    if (!reachable) return;
    await this.#beating;
    await this.#redis.set(keyOf(this.start), LEFT, "PX", LEFT_MS).catch(() => {});
  }

  /**
   * Which of these starts are dead. Waits until that is certain: a beat has come since, or none could have been missed. One that only lost its
   * connection for longer counts as dead until it beats again. Rejects if `signal` aborts.
   */
  async dead(starts: Iterable<string>, signal: AbortSignal): Promise<Set<string>> {
    const dead = new Set<string>();
    const seen = new Map<string, string | null>();
    let open = [...new Set(starts)];
    const deadline = performance.now() + LONGEST_LOOK * this.#ttlMs;
    while (open.length > 0 && performance.now() < deadline) {
      const askedAt = performance.now();
      const beats = await this.#redis.mget(open.map(keyOf));
      // An answer that took long may be older than a standstill that this process has yet to notice.
      const isSure = this.#isSteady() && performance.now() - askedAt < this.#ttlMs / 2;
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

  /** A beat that fails is followed by the next one. */
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
