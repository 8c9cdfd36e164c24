import type { Redis } from "ioredis";
import { within } from "../../redis/deadline.ts";

/** How often Redis is asked, and how long its answer may take. */
const PING_MS = 1_000;
const PING_TIMEOUT_MS = 2_000;
/** How long reading an answer takes that has arrived. */
const UNREAD_MS = 250;

/**
 * Knows whether Redis answers. A closed connection is noticed at once, a Redis that accepts commands and does not answer within 3 s.
 */
export class RedisWatch {
  readonly #redis: Redis;
  readonly #listeners = new Set<() => void>();
  #answers = true;
  #timer: NodeJS.Timeout | undefined;
  readonly #lost = () => this.#set(false);

  constructor(redis: Redis) {
    this.#redis = redis;
    redis.on("close", this.#lost);
    this.#schedule();
  }

  get isUp(): boolean {
    return this.#answers && this.#redis.status === "ready";
  }

  /** Asks Redis now. */
  async ask(): Promise<boolean> {
    let answered = false;
    const ping = this.#redis.ping().then(() => {
      answered = true;
    });
    await within(PING_TIMEOUT_MS, ping).catch(() => {});
    // If this process was busy for longer than the time limit, the answer is there and was not read yet.
    if (!answered) await within(UNREAD_MS, ping).catch(() => {});
    this.#set(answered);
    return this.isUp;
  }

  /** Calls a listener once, when Redis no longer answers. @returns a function that removes it */
  onceLost(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#redis.off("close", this.#lost);
    this.#listeners.clear();
  }

  #schedule(): void {
    this.#timer = setTimeout(async () => {
      await this.ask();
      if (this.#timer !== undefined) this.#schedule();
    }, PING_MS).unref();
  }

  #set(answers: boolean): void {
    this.#answers = answers;
    if (answers) return;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }
}
