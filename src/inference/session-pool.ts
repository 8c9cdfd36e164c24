import { type Packable, packBatch, packedBytes, type Ranked, unpackAnswer } from "./packing.ts";
import { SessionHandle } from "./session-handle.ts";
import type { SessionSetup } from "./session-thread.ts";

/** Batches per thread that keep it busy: one runs while the next is there already. */
export const BATCHES_PER_THREAD = 2;

const SMALLEST_BUFFER_BYTES = 64 * 1024;

/** Inference threads with one session each. The caller keeps at most BATCHES_PER_THREAD batches out per thread. */
export class SessionPool {
  readonly #setup: SessionSetup;
  readonly #threads: SessionHandle[];
  /** Buffers that no batch uses; at most BATCHES_PER_THREAD per thread. */
  readonly #buffers: ArrayBuffer[] = [];

  private constructor(setup: SessionSetup, threads: SessionHandle[]) {
    this.#setup = setup;
    this.#threads = threads;
  }

  /** Resolves when each thread has loaded the model and run it once. Throws MODEL_INVALID or INFERENCE_FAILED. */
  static async start(setup: SessionSetup, threads: number): Promise<SessionPool> {
    const started = Array.from({ length: threads }, () => new SessionHandle(setup));
    const results = await Promise.allSettled(started.map((thread) => thread.ready));
    const failed = results.find((result) => result.status === "rejected");
    if (!failed) return new SessionPool(setup, started);
    await Promise.all(started.map((thread) => thread.close()));
    throw failed.reason;
  }

  /**
   * Runs a batch on a thread (0 to threads − 1): the best `topK` (1..labels) of each item, or null where its logits are not finite.
   * Throws INFERENCE_FAILED (retryable) if the thread is lost, and a plain Error if the model failed on the batch.
   */
  async run(items: readonly Packable[], topK: number, thread: number): Promise<(Ranked[] | null)[]> {
    const buffer = this.#takeBuffer(packedBytes(items, topK));
    packBatch(items, buffer);
    const answer = await this.#handle(thread).run({ kind: "batch", buffer, count: items.length, topK });
    try {
      if (answer.kind === "failed") throw new Error(answer.message);
      return unpackAnswer(answer.buffer, items.length, topK);
    } finally {
      this.#giveBuffer(answer.buffer);
    }
  }

  /** Lets each thread answer what it holds, release its session and end. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  /** A thread that was lost is replaced when its turn comes; if the new one cannot start, the batch fails and the next tries again. */
  #handle(thread: number): SessionHandle {
    if (this.#threads[thread]!.lost) this.#threads[thread] = new SessionHandle(this.#setup);
    return this.#threads[thread]!;
  }

  #takeBuffer(bytes: number): ArrayBuffer {
    const fits = this.#buffers.findIndex((buffer) => buffer.byteLength >= bytes);
    if (fits >= 0) return this.#buffers.splice(fits, 1)[0]!;
    return new ArrayBuffer(Math.max(SMALLEST_BUFFER_BYTES, 2 ** Math.ceil(Math.log2(bytes))));
  }

  #giveBuffer(buffer: ArrayBuffer): void {
    this.#buffers.push(buffer);
    if (this.#buffers.length > this.#threads.length * BATCHES_PER_THREAD) this.#buffers.shift();
  }
}
