import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../../errors.ts";
import { type Collator, IMAGE_ELEMENTS, imageCollator, TEXT_INPUTS, textCollator } from "../batching/collate.ts";
import { type Packable, packBatch, packedBytes } from "../batching/packing.ts";
import { DeviceError, runError } from "../devices/device-error.ts";
import type { ModelSession, OpenSession, Output, SessionSetup, Shape } from "./model-session.ts";
import { writeAnswer } from "./scores.ts";

/** `buffer` holds the packed batch of `count` items, has room for its answer, and is transferred. It is padded to `shape`. */
type Batch = { buffer: ArrayBuffer; count: number; shape: Shape; topK: number };
export type ToThread = ({ kind: "batch" } & Batch) | { kind: "close" };

/**
 * First ready (with the least cost, rows × length, that found no memory in the warm-up) or invalid; then, for each batch and in
 * their order, its buffer with the answer and the milliseconds that it took, or what the run threw.
 */
export type FromThread =
  | { kind: "ready"; tooLarge?: number }
  | { kind: "invalid"; message: string }
  | { kind: "answer"; buffer: ArrayBuffer; ms: number }
  | { kind: "failed"; buffer: ArrayBuffer; message: string };

/**
 * The life of an inference thread: one session, one batch at a time, in the order in which they come.
 * @param open makes the session: that of onnxruntime, or another that is to be tried behind the same interface
 */
export async function serveSession(open: OpenSession): Promise<void> {
  const port = parentPort!;
  const tell = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
  const loaded = await LoadedModel.open(open, workerData as SessionSetup).catch((error: unknown) => {
    tell({ kind: "invalid", message: messageOf(error) });
  });
  if (!loaded) return;
  const { tooLarge } = loaded;
  tell({ kind: "ready", ...(tooLarge !== undefined && { tooLarge }) });

  const handle = async (message: ToThread): Promise<void> => {
    if (message.kind === "close") {
      await loaded.release();
      port.close();
      return;
    }
    const { buffer } = message;
    try {
      const startedAt = performance.now();
      await loaded.answer(message);
      tell({ kind: "answer", buffer, ms: performance.now() - startedAt }, [buffer]);
    } catch (error) {
      tell({ kind: "failed", buffer, message: messageOf(error) }, [buffer]);
    }
  };
  let turn = Promise.resolve();
  port.on("message", (message: ToThread) => {
    // One after the other: inputs of the next batch must not overwrite those of the batch that runs.
    turn = turn.then(() => handle(message));
  });
}

/** A session that has run in its shapes, and has proved, with two small items, that it is what it is said to be. */
class LoadedModel {
  /** The least cost of a shape of the warm-up that found no memory. */
  tooLarge: number | undefined;
  readonly #session: ModelSession;
  readonly #labels: number;
  readonly #collate: Collator;
  readonly #output: string;

  private constructor(session: ModelSession, { input, labels }: SessionSetup) {
    this.#session = session;
    this.#labels = labels;
    this.#collate = makeCollator(session, input);
    this.#output = session.outputs.find((name) => name === "logits") ?? session.outputs[0]!;
  }

  static async open(open: OpenSession, setup: SessionSetup): Promise<LoadedModel> {
    const session = await open(setup);
    try {
      const loaded = new LoadedModel(session, setup);
      // On a GPU the trial would be of a shape that no batch has.
      if ((await loaded.#warmUp(setup)) > 0) return loaded;
      const items = trialItems(setup.input);
      const length = setup.input.kind === "text" ? items.length : 1;
      await loaded.#try(items, { rows: items.length, length });
      return loaded;
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  /** Writes the answer over the batch. */
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
   * The device's memory is laid out by the largest shape, so it comes first; one that finds no memory costs only itself.
   * @returns how many shapes ran
   */
  async #warmUp({ input, warmUp }: SessionSetup): Promise<number> {
    const items = trialItems(input).slice(0, 1);
    let ran = 0;
    for (const shape of warmUp) {
      try {
        await this.#try(items, shape);
        ran++;
      } catch (error) {
        const told = runError(messageOf(error));
        if (!(told instanceof DeviceError) || !told.memory) throw error;
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

function makeCollator(session: ModelSession, input: SessionSetup["input"]): Collator {
  const names = session.inputs.map(({ name }) => name);
  const [known, type] = input.kind === "text" ? [TEXT_INPUTS, "int64"] : [names.slice(0, 1), IMAGE_ELEMENTS];
  for (const { name, type: came } of session.inputs) {
    if (!known.includes(name) || came !== type)
      throw new Error(`inputs: expected ${known.join(", ")} (${type}), got ${name} (${came})`);
  }
  return input.kind === "text"
    ? textCollator(names, input.padId, input.paddingSide)
    : imageCollator(names[0]!, input.recipe);
}

/** Two items, of two lengths where there are lengths: a model whose shapes are fixed fails here and not under load. */
function trialItems(input: SessionSetup["input"]): Packable[] {
  if (input.kind === "text") return [Int32Array.of(input.padId), Int32Array.of(input.padId, input.padId)];
  const size = input.recipe.width * input.recipe.height * 3;
  return [new Uint8Array(size), new Uint8Array(size)];
}
