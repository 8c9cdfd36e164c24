import { LabelmillError } from "../../errors.ts";
import { storeErrorOf } from "../store-error.ts";
import type { OutputLock } from "./lock.ts";

export const LOCK_TIMES = {
  renewMs: 5_000,
  /** A holder whose process cannot be observed from here counts as dead after this time without a renewal. */
  staleMs: 60_000,
};
export type LockTimes = typeof LOCK_TIMES;

export type LockOwner = "ours" | "taken" | "removed";

/** The operations on a lock in its store. */
export type LockBackend = {
  /** The lock itself, as a path or a URI. */
  place: string;
  /** The lock is on a server and ages by the server's clock: during an outage of the server, no command can take it. */
  remote?: boolean;
  /** Renews the lock, and returns who holds it. An error may be temporary. */
  renew(): Promise<LockOwner>;
  /** Removes the lock if it is still ours. */
  remove(): Promise<void>;
};

/** A lock of this process, renewed until it is released or lost. */
export class HeldLock implements OutputLock {
  readonly lost: AbortSignal;
  readonly #lose = new AbortController();
  readonly #backend: LockBackend;
  readonly #staleMs: number;
  readonly #timer: NodeJS.Timeout;
  #renewing: Promise<void> | undefined;
  #renewedAt = performance.now();
  #failure: unknown;
  #released: Promise<void> | undefined;

  constructor(backend: LockBackend, { renewMs, staleMs }: LockTimes = LOCK_TIMES) {
    this.lost = this.#lose.signal;
    this.#backend = backend;
    this.#staleMs = staleMs;
    this.#timer = setInterval(() => {
      // A renewal that fails or hangs may succeed later. But after this time without one, another command may take the lock.
      const isStale = performance.now() - this.#renewedAt > this.#staleMs;
      if (isStale && !this.#isInOutage()) this.#giveUp("it could not be renewed", this.#failure);
      this.#renewing ??= this.#renew().finally(() => {
        this.#renewing = undefined;
      });
    }, renewMs).unref();
  }

  release(): Promise<void> {
    this.#released ??= this.#end();
    return this.#released;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    const began = performance.now();
    try {
      const owner = await this.#backend.renew();
      this.#failure = undefined;
      if (owner === "ours") this.#renewedAt = began;
      else this.#giveUp(owner === "taken" ? "another command took it" : "it was removed");
    } catch (error) {
      this.#failure = error;
    }
  }

  /** During an outage the lock is not given up: the first renewal after it shows who holds the lock. */
  #isInOutage(): boolean {
    const isOutage = storeErrorOf(this.#failure)?.trouble?.kind === "outage";
    return this.#backend.remote === true && (isOutage || this.#renewing !== undefined);
  }

  #giveUp(why: string, cause?: unknown): void {
    clearInterval(this.#timer);
    const message = `the lock ${this.#backend.place} is lost: ${why}`;
    this.#lose.abort(new LabelmillError("OUTPUT_LOCKED", message, { cause }));
  }

  async #end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    await this.#backend.remove();
  }
}
