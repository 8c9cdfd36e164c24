import { Worker } from "node:worker_threads";
import { LabelmillError, messageOf } from "../errors.ts";
import type { FromThread, SessionSetup, ToThread } from "./session-thread.ts";

const THREAD_FILE = new URL(
  import.meta.url.endsWith(".ts") ? "./session-thread.ts" : "./session-thread.js",
  import.meta.url,
);

export type BatchMessage = Extract<ToThread, { kind: "batch" }>;
export type AnswerMessage = Extract<FromThread, { buffer: ArrayBuffer }>;

/** The main thread's end of an inference thread. */
export class SessionHandle {
  /** Resolves once the model is loaded and has run; rejects with MODEL_INVALID, or INFERENCE_FAILED if the thread is lost. */
  readonly ready: Promise<void>;
  /** Why the thread takes no more batches: it could not load the model, or it ended without being asked to. */
  lost: LabelmillError | undefined;
  readonly #modelFile: string;
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  /** Batches that are out, oldest first: the thread answers in order. */
  readonly #waiting: PromiseWithResolvers<AnswerMessage>[] = [];

  constructor(setup: SessionSetup) {
    this.#modelFile = setup.modelFile;
    this.ready = this.#ready.promise;
    // Whoever does not wait for it learns the same from the batches.
    this.ready.catch(() => {});
    this.#worker = new Worker(THREAD_FILE, { workerData: setup, name: "labelmill inference" });
    this.#worker.on("message", (message: FromThread) => this.#hear(message));
    this.#worker.on("error", (error) => this.#lose(error));
    this.#worker.on("exit", (code) => {
      this.#lose(new Error(`it ended with code ${code}`));
      this.#exited.resolve();
    });
  }

  /** Sends a batch, before `ready` too. The answer brings its buffer back. Rejects with INFERENCE_FAILED if the thread is lost. */
  run(batch: BatchMessage): Promise<AnswerMessage> {
    if (this.lost) return Promise.reject(this.lost);
    const answer = Promise.withResolvers<AnswerMessage>();
    this.#waiting.push(answer);
    this.#post(batch, [batch.buffer]);
    return answer.promise;
  }

  /**
   * Resolves when the thread has answered all that it holds and has ended. It is asked, never terminated: that would abort
   * the process in the middle of a run.
   */
  close(): Promise<void> {
    if (!this.lost) this.#post({ kind: "close" });
    return this.#exited.promise;
  }

  #post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #hear(message: FromThread): void {
    if (message.kind === "ready") this.#ready.resolve();
    else if (message.kind === "invalid") {
      const text = `${this.#modelFile}: expected an ONNX model that fits its configuration, got: ${message.message}`;
      this.#ready.reject(new LabelmillError("MODEL_INVALID", text));
      this.#lose(new Error(text));
    } else this.#waiting.shift()?.resolve(message);
  }

  #lose(cause: Error): void {
    this.lost ??= new LabelmillError("INFERENCE_FAILED", `the inference thread was lost: ${messageOf(cause)}`, {
      cause,
    });
    this.#ready.reject(this.lost);
    for (const answer of this.#waiting.splice(0)) answer.reject(this.lost);
  }
}
