import { LabelmillError } from "../../errors.ts";
import { runError } from "../devices/device-error.ts";
import { type Packable, packBatch, packedBytes, type Ranked, unpackAnswer } from "./batch-buffer.ts";
import type { BatchClaim } from "./batch-claim.ts";
import type { SessionSetup, Shape } from "./model-session.ts";
import { SessionHandle } from "./session-handle.ts";

/** Batches that keep a thread busy: one runs, the next one is ready. */
export const BATCHES_PER_THREAD = 2;

const MIN_BUFFER_BYTES = 64 * 1024;

/** Inference threads with one session each. The caller sends each thread at most BATCHES_PER_THREAD batches at a time. */
export class SessionPool {
  readonly #setups: readonly SessionSetup[];
  readonly #thread: URL | undefined;
  readonly #threads: SessionHandle[];
  /** Unused buffers, at most BATCHES_PER_THREAD for each thread. */
  readonly #buffers: ArrayBuffer[] = [];

  /** Batches of this padded cost and more ran out of memory in the warm-up. */
  readonly tooLarge: number;

  private constructor(
    setups: readonly SessionSetup[],
    thread: URL | undefined,
    threads: SessionHandle[],
    tooLarge: number,
  ) {
    this.tooLarge = tooLarge;
    this.#setups = setups;
    this.#thread = thread;
    this.#threads = threads;
  }

  /**
   * Starts a thread for each setup. Resolves when all have loaded the model and run it. Throws MODEL_INVALID or INFERENCE_FAILED.
   * @param thread the module that the threads run. Default: onnxruntime's
   */
  static async start(setups: readonly SessionSetup[], thread?: URL): Promise<SessionPool> {
    const started = setups.map((setup) => new SessionHandle(setup, thread));
    const results = await Promise.allSettled(started.map(({ ready }) => ready));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) {
      await Promise.all(started.map((each) => each.close()));
      throw failed.reason;
    }
    const warmed = await Promise.all(started.map(({ ready }) => ready));
    return new SessionPool(setups, thread, started, Math.min(...warmed.map(({ tooLarge }) => tooLarge)));
  }

  /** The number of threads. */
  get size(): number {
    return this.#threads.length;
  }

  /**
   * Runs a batch, padded to `shape`, on a thread (0 to size − 1). Throws INFERENCE_FAILED (retryable) if the thread is lost, a
   * DeviceError if the device failed, a plain Error if the model failed on the batch, and ABORTED if it was taken back.
   * @param claim of a batch that may be taken back until it begins
   * @returns the best `topK` (1..labels) labels of each item, or null if its logits are not finite; and the milliseconds of the run
   */
  async run(
    items: readonly Packable[],
    shape: Shape,
    topK: number,
    thread: number,
    claim?: BatchClaim,
  ): Promise<{ ranked: (Ranked[] | null)[]; ms: number }> {
    const buffer = this.#takeBuffer(packedBytes(items, topK));
    packBatch(items, buffer);
    const batch = { kind: "batch", buffer, count: items.length, shape, topK } as const;
    const answer = await this.#handle(thread).run(claim ? { ...batch, claim: claim.shared } : batch);
    try {
      if (answer.kind === "skipped") throw new LabelmillError("ABORTED", "the batch was taken back before it began");
      if (answer.kind === "failed") throw runError(answer.message);
      return { ranked: unpackAnswer(answer.buffer, items.length, topK), ms: answer.ms };
    } finally {
      this.#returnBuffer(answer.buffer);
    }
  }

  /** Resolves when each thread has answered its batches, released its session and ended. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  /** Replaces a lost thread before its next batch. If the new one cannot start, the batch fails, and the next batch tries again. */
  #handle(thread: number): SessionHandle {
    if (this.#threads[thread]!.lost) this.#threads[thread] = new SessionHandle(this.#setups[thread]!, this.#thread);
    return this.#threads[thread]!;
  }

  #takeBuffer(bytes: number): ArrayBuffer {
    const fits = this.#buffers.findIndex((buffer) => buffer.byteLength >= bytes);
    if (fits >= 0) return this.#buffers.splice(fits, 1)[0]!;
    return new ArrayBuffer(Math.max(MIN_BUFFER_BYTES, 2 ** Math.ceil(Math.log2(bytes))));
  }

  #returnBuffer(buffer: ArrayBuffer): void {
    this.#buffers.push(buffer);
    if (this.#buffers.length > this.#threads.length * BATCHES_PER_THREAD) this.#buffers.shift();
  }
}
