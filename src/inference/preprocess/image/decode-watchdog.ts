import { randomFill } from "node:crypto";
import { LabelmillError } from "../../../errors.ts";
import { imageTimeout } from "./decode-image.ts";

export type WatchdogLimits = {
  /** Time limit of the decode, in ms. */
  timeoutMs: number;
  /** Additional time before the decode counts as stuck, in ms. */
  graceMs: number;
  /** Time limit of a pass for waiting for a thread of libuv's pool, in ms. */
  poolMs: number;
};

/** Limits the time of one decode, without the time its passes wait for a thread of libuv's pool, which file systems also use. */
export class DecodeWatchdog implements Disposable {
  readonly #limits: WatchdogLimits;
  readonly #stuck = Promise.withResolvers<never>();
  #timer: NodeJS.Timeout | undefined;
  #usedMs = 0;
  #since: number | undefined;
  #pass = 0;

  constructor(limits: WatchdogLimits) {
    this.#limits = limits;
    // No caller may wait for it.
    this.#stuck.promise.catch(() => {});
  }

  /** Rejects when the decode is stuck: with IMAGE_TIMEOUT, or with INFERENCE_FAILED if no thread was free for it. */
  get stuck(): Promise<never> {
    return this.#stuck.promise;
  }

  /**
   * Must be called just before a pass is sent to the pool. A tiny task before it in the pool's queue shows when a thread is free.
   * @returns the remaining time in ms, more than 0
   * @throws LabelmillError IMAGE_TIMEOUT if no time remains
   */
  beginPass(): number {
    this.#stop();
    const leftMs = this.#limits.timeoutMs - this.#usedMs;
    if (leftMs <= 0) throw imageTimeout();
    const pass = ++this.#pass;
    const { graceMs, poolMs } = this.#limits;
    this.#timer = setTimeout(() => this.#stuck.reject(poolStuck(poolMs)), poolMs);
    randomFill(new Uint8Array(1), () => {
      if (pass !== this.#pass) return;
      this.#stop();
      this.#since = performance.now();
      this.#timer = setTimeout(() => this.#stuck.reject(imageTimeout()), leftMs + graceMs);
    });
    return leftMs;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    if (this.#since !== undefined) this.#usedMs += performance.now() - this.#since;
    this.#since = undefined;
  }

  [Symbol.dispose](): void {
    this.#pass += 1;
    this.#stop();
  }
}

function poolStuck(ms: number): LabelmillError {
  const message = `no thread was free to decode an image for ${ms / 1000} s: all are stuck, for example in a file system that hangs; restart the process`;
  return new LabelmillError("INFERENCE_FAILED", message);
}
