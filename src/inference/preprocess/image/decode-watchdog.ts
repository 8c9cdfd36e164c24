import { randomFill } from "node:crypto";
import { LabelmillError } from "../../../errors.ts";
import { imageTimeout } from "./decode-image.ts";

export type ClockLimits = {
  /** How long the work may take, in ms. */
  timeoutMs: number;
  /** Added to that before the work counts as stuck, in ms. */
  graceMs: number;
  /** How long one pass may wait for a thread of libuv's pool, in ms. */
  poolMs: number;
};

/** Times one decode, without what its passes wait for a thread of libuv's pool: file systems and others use that pool too. */
export class DecodeWatchdog implements Disposable {
  readonly #limits: ClockLimits;
  readonly #stuck = Promise.withResolvers<never>();
  #timer: NodeJS.Timeout | undefined;
  #usedMs = 0;
  #since: number | undefined;
  #pass = 0;

  constructor(limits: ClockLimits) {
    this.#limits = limits;
    // A watchdog that nobody waits for.
    this.#stuck.promise.catch(() => {});
  }

  /** Rejects when the work is stuck: with IMAGE_TIMEOUT; with INFERENCE_FAILED where no thread was free for it. */
  get stuck(): Promise<never> {
    return this.#stuck.promise;
  }

  /**
   * To be called just before a pass is given to the pool: a tiny task before it in the pool's queue tells when a thread is free for it.
   * @returns the ms that are left, more than 0
   * @throws LabelmillError IMAGE_TIMEOUT where none are
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
  const message = `no thread was free to decode an image for ${ms / 1000} s: all are stuck, in a file system that hangs for example; a new process is needed`;
  return new LabelmillError("INFERENCE_FAILED", message);
}
