import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../../errors.ts";
import type { Collator } from "../batching/collate.ts";
import { DeviceError, runError } from "../devices/device-error.ts";
import { type Packable, packBatch, packedBytes } from "./batch-buffer.ts";
import { BatchClaim } from "./batch-claim.ts";
import { makeCollator, probeBatch } from "./input-adapters.ts";
import type { ModelSession, OpenSession, Output, SessionSetup, Shape } from "./model-session.ts";
import { writeAnswer } from "./scores.ts";

/**
 * `buffer` contains the packed batch of `count` items, has room for its answer, and is transferred. `shape`: with padding. `claim`: the
 * batch may be taken back until it begins.
 */
type Batch = { buffer: ArrayBuffer; count: number; shape: Shape; topK: number; claim?: SharedArrayBuffer };
export type ToThread = ({ kind: "batch" } & Batch) | { kind: "close" };

/**
 * The first message is `ready` or `invalid`. `tooLarge`: the least padded cost (rows × length) that ran out of memory in the warm-up.
 * Then one message follows for each batch, in order: its buffer with the answer and the milliseconds of the run, the error of the run,
 * or that it was taken back and did not run.
 */
export type FromThread =
  | { kind: "ready"; tooLarge?: number }
  | { kind: "invalid"; message: string }
  | { kind: "answer"; buffer: ArrayBuffer; ms: number }
  | { kind: "failed"; buffer: ArrayBuffer; message: string }
  | { kind: "skipped"; buffer: ArrayBuffer };

/**
 * Runs an inference thread: one session, one batch at a time, in the order of arrival.
 * @param open opens the session: onnxruntime's, or another behind the same interface
 */
export async function serveSession(open: OpenSession): Promise<void> {
  const port = parentPort!;
  const post = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
  const loaded = await LoadedModel.open(open, workerData as SessionSetup).catch((error: unknown) => {
    post({ kind: "invalid", message: messageOf(error) });
  });
  if (!loaded) return;
  const { tooLarge } = loaded;
  post({ kind: "ready", ...(tooLarge !== undefined && { tooLarge }) });

  const handle = async (message: ToThread): Promise<void> => {
    if (message.kind === "close") {
      await loaded.release();
      port.close();
      return;
    }
    const { buffer, claim } = message;
    if (claim && !BatchClaim.begin(claim)) {
      post({ kind: "skipped", buffer }, [buffer]);
      return;
    }
    try {
      const startedAt = performance.now();
      await loaded.answer(message);
      post({ kind: "answer", buffer, ms: performance.now() - startedAt }, [buffer]);
    } catch (error) {
      post({ kind: "failed", buffer, message: messageOf(error) }, [buffer]);
    }
  };
  let turn = Promise.resolve();
  port.on("message", (message: ToThread) => {
    // One after the other: the inputs of the next batch must not overwrite those of the running one.
    turn = turn.then(() => handle(message));
  });
}

/** A session that has run its warm-up shapes or, if it has none, two small items: its inputs and outputs are as configured. */
class LoadedModel {
  /** The least padded cost of a warm-up shape that ran out of memory. */
  tooLarge: number | undefined;
  readonly #session: ModelSession;
  readonly #labels: number;
  readonly #collate: Collator;
  readonly #output: string;

  private constructor(session: ModelSession, { input, labels }: SessionSetup) {
    this.#session = session;
    this.#labels = labels;
    this.#collate = makeCollator(session.inputs, input);
    this.#output = session.outputs.find((name) => name === "logits") ?? session.outputs[0]!;
  }

  static async open(open: OpenSession, setup: SessionSetup): Promise<LoadedModel> {
    const session = await open(setup);
    try {
      const loaded = new LoadedModel(session, setup);
      // On a GPU the probe would have a shape that no batch has.
      if ((await loaded.#warmUp(setup)) > 0) return loaded;
      const { items, shape } = probeBatch(setup.input);
      await loaded.#try(items, shape);
      return loaded;
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  /** Runs a batch and overwrites it with its answer. */
  async answer({ buffer, count, shape, topK }: Batch): Promise<void> {
    const logits = await this.#session.run(this.#collate(buffer, count, shape), this.#output);
    const data = toFloat32(logits);
    if (!data || logits.dims.join() !== `${shape.rows},${this.#labels}`) {
      const expected = `float32 or float16 [${shape.rows}, ${this.#labels}] (items, labels)`;
      throw new Error(`output ${this.#output}: expected ${expected}, got ${logits.type} [${logits.dims.join(", ")}]`);
    }
    writeAnswer(data.subarray(0, count * this.#labels), count, topK, buffer);
  }

  /**
   * Runs each shape once. The largest comes first, since it determines the layout of the device's memory. A shape that runs out of
   * memory is skipped.
   * @returns how many shapes ran
   */
  async #warmUp({ input, warmUp }: SessionSetup): Promise<number> {
    const items = probeBatch(input).items.slice(0, 1);
    let ran = 0;
    for (const shape of warmUp) {
      try {
        await this.#try(items, shape);
        ran++;
      } catch (error) {
        const reason = runError(messageOf(error));
        if (!(reason instanceof DeviceError) || !reason.isOutOfMemory) throw error;
        this.tooLarge = Math.min(this.tooLarge ?? Number.POSITIVE_INFINITY, shape.rows * shape.length);
      }
    }
    return ran;
  }

  async #try(items: readonly Packable[], shape: Shape): Promise<void> {
    const buffer = new ArrayBuffer(packedBytes(items, 1));
    packBatch(items, buffer);
    await this.answer({ buffer, count: items.length, shape, topK: 1 });
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

function toFloat32({ type, data }: Output): Float32Array | undefined {
  if (type === "float32") return data as Float32Array;
  return type === "float16" ? Float32Array.from(data as Float16Array) : undefined;
}
