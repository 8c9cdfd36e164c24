import { LabelmillError } from "../../errors.ts";
import { storeErrorOf } from "../store-error.ts";
import type { OutputLock } from "./lock.ts";

export const LOCK_TIMES = {
  beatMs: 5_000,
  /** A holder whose process we cannot look at is taken for dead after this time without a beat. */
  staleMs: 60_000,
};
export type LockTimes = typeof LOCK_TIMES;

/** How a lock is kept where it lies. */
export type Keeping = {
  /** The lock itself, as a path or a URI. */
  place: string;
  /** It lies with a server by whose clock it gets old: while that server is out, it cannot become another's. */
  remote?: boolean;
  /** Renews it, and says whose it is. An error may pass. */
  beat(): Promise<"ours" | "taken" | "gone">;
  /** Removes it if it is still ours. */
  letGo(): Promise<void>;
};

/** A lock that is ours, renewed until it is released or lost. */
export class HeldLock implements OutputLock {
  readonly lost: AbortSignal;
  readonly #lose = new AbortController();
  readonly #keeping: Keeping;
  readonly #staleMs: number;
  readonly #timer: NodeJS.Timeout;
  #beating: Promise<void> | undefined;
  #beatAt = performance.now();
  #failure: unknown;
  #released: Promise<void> | undefined;

  constructor(keeping: Keeping, { beatMs, staleMs }: LockTimes = LOCK_TIMES) {
    this.lost = this.#lose.signal;
    this.#keeping = keeping;
    this.#staleMs = staleMs;
    this.#timer = setInterval(() => {
      // What fails, or hangs, may pass, but whoever sees no beat for that long may take the lock.
      const isStale = performance.now() - this.#beatAt > this.#staleMs;
      if (isStale && !this.#isOut()) this.#giveUp("it could not be renewed", this.#failure);
      this.#beating ??= this.#beat().finally(() => {
        this.#beating = undefined;
      });
    }, beatMs).unref();
  }

  release(): Promise<void> {
    this.#released ??= this.#end();
    return this.#released;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /** Never fails. */
  async #beat(): Promise<void> {
    const began = performance.now();
    try {
      const whose = await this.#keeping.beat();
      this.#failure = undefined;
      if (whose === "ours") this.#beatAt = began;
      else this.#giveUp(whose === "taken" ? "another command took it" : "somebody removed it");
    } catch (error) {
      this.#failure = error;
    }
  }

  /** The first beat after the outage tells whose it is by then. */
  #isOut(): boolean {
    const failed = storeErrorOf(this.#failure)?.trouble?.kind === "outage";
    return this.#keeping.remote === true && (failed || this.#beating !== undefined);
  }

  #giveUp(why: string, cause?: unknown): void {
    clearInterval(this.#timer);
    const message = `the lock ${this.#keeping.place} is lost: ${why}`;
    this.#lose.abort(new LabelmillError("OUTPUT_LOCKED", message, { cause }));
  }

  async #end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#beating;
    await this.#keeping.letGo();
  }
}
