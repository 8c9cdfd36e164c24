import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError, messageOf } from "../errors.ts";

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;

/** Waits for room in a Redis that is out of memory: it refuses each write as a whole, so the same write may be tried again. */
export class Room {
  readonly #patienceMs: number;
  readonly #say: (line: string) => void;

  /** @param say told once each time that a wait begins */
  constructor(patienceMs: number, say: (line: string) => void) {
    this.#patienceMs = patienceMs;
    this.#say = say;
  }

  /** @throws LabelmillError REDIS_FULL after the patience; whatever else `write` or `signal` throws, at once */
  async take<T>(write: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const until = performance.now() + this.#patienceMs;
    for (let waitMs = FIRST_WAIT_MS, waits = 0; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2), waits++) {
      signal.throwIfAborted();
      try {
        return await write();
      } catch (error) {
        if (!isFull(error)) throw error;
        if (performance.now() + waitMs > until) throw full(this.#patienceMs, error);
        if (waits === 0) this.#say("Redis is out of memory: waiting for room");
        await delay(waitMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    }
  }
}

/** Redis answers with a reply that begins with OOM, a script's too; a transaction with one such command is thrown away whole. */
function isFull(error: unknown): boolean {
  const message = messageOf(error);
  return (
    /^(?:EXECABORT|(?:ReplyError: )?OOM|-OOM|ERR .*OOM) /.test(message) || message.includes("OOM command not allowed")
  );
}

function full(patienceMs: number, cause: unknown): LabelmillError {
  return new LabelmillError(
    "REDIS_FULL",
    `Redis has been out of memory for ${Math.round(patienceMs / 1000)} s: let its workers catch up, or raise its maxmemory, and run the same command again`,
    { cause },
  );
}
