import { Worker } from "node:worker_threads";
import { LabelmillError, messageOf } from "../../errors.ts";
import { DeviceError, runError } from "../devices/device-error.ts";
import type { SessionSetup } from "./model-session.ts";
import type { FromThread, ToThread } from "./serve-session.ts";

/** The module of the thread that runs models in onnxruntime. */
const ONNX_THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./session-thread.ts" : "./session-thread.js",
  import.meta.url,
);

export type BatchMessage = Extract<ToThread, { kind: "batch" }>;
export type AnswerMessage = Extract<FromThread, { kind: "answer" | "failed" | "skipped" }>;

/** The result of the warm-up: batches of this padded cost and more run out of memory. */
export type WarmUpResult = { tooLarge: number };

/** An inference thread, as the main thread sees it. */
export class SessionHandle {
  /** Resolves when the model is loaded and has run. Rejects with MODEL_INVALID, or INFERENCE_FAILED if the thread is lost. */
  readonly ready: Promise<WarmUpResult>;
  /** Why the thread takes no more batches: it could not load the model, or it ended unexpectedly. */
  lost: LabelmillError | undefined;
  readonly #setup: SessionSetup;
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<WarmUpResult>();
  readonly #exited = Promise.withResolvers<void>();
  /** The batches without an answer, oldest first: the thread answers in order. */
  readonly #waiting: PromiseWithResolvers<AnswerMessage>[] = [];

  /** @param thread the module that the thread runs: it calls `serveSession` */
  constructor(setup: SessionSetup, thread: URL = ONNX_THREAD) {
    this.#setup = setup;
    this.ready = this.#ready.promise;
    // A caller that does not wait for it gets the same error from its batches.
    this.ready.catch(() => {});
    this.#worker = new Worker(thread, { workerData: setup, name: "labelmill inference" });
    this.#worker.on("message", (message: FromThread) => this.#handle(message));
    this.#worker.on("error", (error) => this.#lose(error));
    this.#worker.on("exit", (code) => {
      this.#lose(new Error(`it ended with exit code ${code}`));
      this.#exited.resolve();
    });
  }

  /** Sends a batch, also before `ready`. The answer contains its buffer. Rejects with INFERENCE_FAILED if the thread is lost. */
  run(batch: BatchMessage): Promise<AnswerMessage> {
    if (this.lost) return Promise.reject(this.lost);
    const answer = Promise.withResolvers<AnswerMessage>();
    this.#waiting.push(answer);
    this.#post(batch, [batch.buffer]);
    return answer.promise;
  }

  /**
   * Resolves when the thread has answered all its batches and has ended. It is closed by a message: terminating it during a run would
   * abort the process.
   */
  close(): Promise<void> {
    if (!this.lost) this.#post({ kind: "close" });
    return this.#exited.promise;
  }

  #post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #handle(message: FromThread): void {
    if (message.kind === "ready") this.#ready.resolve({ tooLarge: message.tooLarge ?? Number.POSITIVE_INFINITY });
    else if (message.kind === "invalid") {
      const error = this.#invalidError(message.message);
      this.#ready.reject(error);
      this.#lose(error);
    } else this.#waiting.shift()?.resolve(message);
  }

  #invalidError(message: string): LabelmillError {
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
