import { Worker } from "node:worker_threads";
import { LabelmillError, messageOf } from "../../errors.ts";
import { DeviceError, runError } from "../devices/device-error.ts";
import type { SessionSetup } from "./model-session.ts";
import type { FromThread, ToThread } from "./serve-session.ts";

/** The thread that runs models in onnxruntime. */
export const ONNX_THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./session-thread.ts" : "./session-thread.js",
  import.meta.url,
);

export type BatchMessage = Extract<ToThread, { kind: "batch" }>;
export type AnswerMessage = Extract<FromThread, { kind: "answer" | "failed" }>;

/** What the warm-up came to: batches of this padded cost and more find no memory. */
export type Warmed = { tooLarge: number };

/** The main thread's end of an inference thread. */
export class SessionHandle {
  /** Resolves once the model is loaded and has run; rejects with MODEL_INVALID, or INFERENCE_FAILED if the thread is lost. */
  readonly ready: Promise<Warmed>;
  /** Why the thread takes no more batches: it could not load the model, or it ended without being asked to. */
  lost: LabelmillError | undefined;
  readonly #setup: SessionSetup;
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<Warmed>();
  readonly #exited = Promise.withResolvers<void>();
  /** Batches that are out, oldest first: the thread answers in order. */
  readonly #waiting: PromiseWithResolvers<AnswerMessage>[] = [];

  /** @param thread the file that the thread runs: it calls `serveSession` */
  constructor(setup: SessionSetup, thread: URL = ONNX_THREAD) {
    this.#setup = setup;
    this.ready = this.#ready.promise;
    // Whoever does not wait for it learns the same from the batches.
    this.ready.catch(() => {});
    this.#worker = new Worker(thread, { workerData: setup, name: "labelmill inference" });
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
    if (message.kind === "ready") this.#ready.resolve({ tooLarge: message.tooLarge ?? Number.POSITIVE_INFINITY });
    else if (message.kind === "invalid") {
      const error = this.#whyInvalid(message.message);
      this.#ready.reject(error);
      this.#lose(error);
    } else this.#waiting.shift()?.resolve(message);
  }

  #whyInvalid(message: string): LabelmillError {
    const { modelFile, device } = this.#setup;
    if (runError(message) instanceof DeviceError)
      return new LabelmillError("INFERENCE_FAILED", `${modelFile} could not be loaded on ${device}: ${message}`);
    const text = `${modelFile}: expected an ONNX model that fits its configuration, got: ${message}`;
    return new LabelmillError("MODEL_INVALID", text);
  }

  #lose(cause: Error): void {
    this.lost ??= new LabelmillError("INFERENCE_FAILED", `the inference thread was lost: ${messageOf(cause)}`, {
      cause,
    });
    this.#ready.reject(this.lost);
    for (const answer of this.#waiting.splice(0)) answer.reject(this.lost);
  }
}
