import type { Redis } from "ioredis";
import { LabelmillError, messageOf } from "../../errors.ts";
import { retry } from "../../retry/retry.ts";

/** The waits between the attempts of a write while Redis is out of memory. */
const FULL_BACKOFF = { firstMs: 100, maxMs: 2_000 };

/**
 * Writes to Redis for a producer. While Redis is out of memory, a write is retried: Redis refuses it as a whole. A write fails when the
 * connection is lost, because BullMQ would wait until it is back.
 */
export class RedisRoom {
  readonly #redis: Redis;
  readonly #maxWaitMs: number;
  readonly #say: (line: string) => void;
  /** Reject the writes in progress. */
  readonly #rejections = new Set<(error: Error) => void>();

  /** @param say called once at the start of each wait, with a line for the user */
  constructor(redis: Redis, maxWaitMs: number, say: (line: string) => void) {
    this.#redis = redis;
    this.#maxWaitMs = maxWaitMs;
    this.#say = say;
    redis.on("close", () => {
      for (const reject of this.#rejections) reject(lost());
    });
  }

  /**
   * Does a write, and retries it while Redis is out of memory.
   * @throws LabelmillError REDIS_FULL after the maximum wait. Any other error of `write`, and the abort reason of `signal`, immediately.
   * An error if the connection is lost; the write may still happen when the connection is back
   */
  async take<T>(write: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const until = performance.now() + this.#maxWaitMs;
    signal.throwIfAborted();
    return await retry(() => this.#whileConnected(write), {
      backoff: FULL_BACKOFF,
      signal,
      onFailure: (error, { failed, waitMs }) => {
        if (!isFull(error)) throw error;
        if (performance.now() + waitMs > until) throw redisFull(this.#maxWaitMs, error);
        if (failed === 1) this.#say("Redis is out of memory: waiting for room");
        return 0;
      },
    });
  }

  /** The maximum wait as a timer that restarts when there is progress. */
  waitLimit(): { readonly ms: number; readonly isOver: boolean; restart(): void } {
    const ms = this.#maxWaitMs;
    let since = performance.now();
    return {
      ms,
      get isOver() {
        return performance.now() - since > ms;
      },
      restart: () => {
        since = performance.now();
      },
    };
  }

  async #whileConnected<T>(write: () => Promise<T>): Promise<T> {
    if (this.#redis.status !== "ready") throw lost();
    const { promise, reject } = Promise.withResolvers<never>();
    this.#rejections.add(reject);
    try {
      return await Promise.race([write(), promise]);
    } finally {
      this.#rejections.delete(reject);
    }
  }
}

function lost(): Error {
  return new Error("the connection to Redis is lost");
}

/** Redis replies with an error that begins with OOM, for a script too. It discards a whole transaction that has such a command. */
function isFull(error: unknown): boolean {
  const message = messageOf(error);
  return (
    /^(?:EXECABORT|(?:ReplyError: )?OOM|-OOM|ERR .*OOM) /.test(message) || message.includes("OOM command not allowed")
  );
}

export function redisFull(maxWaitMs: number, cause?: unknown): LabelmillError {
  return new LabelmillError(
    "REDIS_FULL",
    `Redis has been out of memory for ${Math.round(maxWaitMs / 1000)} s: wait until workers have reduced the queues, or raise its maxmemory, and run the same command again`,
    cause === undefined ? {} : { cause },
  );
}
