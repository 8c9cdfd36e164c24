import type { Redis } from "ioredis";
import { LabelmillError, messageOf } from "../../errors.ts";
import { retry } from "../../retry/retry.ts";

/** The waits between writes that a full Redis refuses. */
const FULL_BACKOFF = { firstMs: 100, maxMs: 2_000 };

/**
 * What a producer writes to Redis: it waits for room in one that is out of memory, which refuses each write as a whole, so that the
 * same may be tried again; and it ends when the connection does, since BullMQ would wait for that to come back.
 */
export class Room {
  readonly #redis: Redis;
  readonly #patienceMs: number;
  readonly #say: (line: string) => void;
  /** Ends the writes that are under way. */
  readonly #ends = new Set<(error: Error) => void>();

  /** @param say told once each time that a wait begins */
  constructor(redis: Redis, patienceMs: number, say: (line: string) => void) {
    this.#redis = redis;
    this.#patienceMs = patienceMs;
    this.#say = say;
    redis.on("close", () => {
      for (const end of this.#ends) end(lost());
    });
  }

  /**
   * @throws LabelmillError REDIS_FULL after the patience; whatever else `write` or `signal` throws, at once; an error when the
   * connection is or gets lost, and then the write may yet be done when it is back
   */
  async take<T>(write: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const until = performance.now() + this.#patienceMs;
    signal.throwIfAborted();
    return await retry(() => this.#whileConnected(write), {
      backoff: FULL_BACKOFF,
      signal,
      onFailure: (error, { failed, waitMs }) => {
        if (!isFull(error)) throw error;
        if (performance.now() + waitMs > until) throw redisFull(this.#patienceMs, error);
        if (failed === 1) this.#say("Redis is out of memory: waiting for room");
        return 0;
      },
    });
  }

  /** How long somebody waits who sees nothing go on. */
  patience(): { readonly ms: number; readonly isOver: boolean; renew(): void } {
    const ms = this.#patienceMs;
    let since = performance.now();
    return {
      ms,
      get isOver() {
        return performance.now() - since > ms;
      },
      renew: () => {
        since = performance.now();
      },
    };
  }

  async #whileConnected<T>(write: () => Promise<T>): Promise<T> {
    if (this.#redis.status !== "ready") throw lost();
    const { promise, reject } = Promise.withResolvers<never>();
    this.#ends.add(reject);
    try {
      return await Promise.race([write(), promise]);
    } finally {
      this.#ends.delete(reject);
    }
  }
}

function lost(): Error {
  return new Error("the connection to Redis is lost");
}

/** Redis answers with a reply that begins with OOM, a script's too; a transaction with one such command is thrown away whole. */
function isFull(error: unknown): boolean {
  const message = messageOf(error);
  return (
    /^(?:EXECABORT|(?:ReplyError: )?OOM|-OOM|ERR .*OOM) /.test(message) || message.includes("OOM command not allowed")
  );
}

export function redisFull(patienceMs: number, cause?: unknown): LabelmillError {
  return new LabelmillError(
    "REDIS_FULL",
    `Redis has been out of memory for ${Math.round(patienceMs / 1000)} s: let its workers catch up, or raise its maxmemory, and run the same command again`,
    cause === undefined ? {} : { cause },
  );
}
