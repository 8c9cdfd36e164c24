/** The inference thread: one onnxruntime session, one batch at a time, in the order in which they come. */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { messageOf } from "../errors.ts";
import { type Collator, IMAGE_INPUT, imageCollator, TEXT_INPUTS, textCollator } from "./collate.ts";
import type { ImageRecipe } from "./image-recipe.ts";
import { type Packable, packBatch, packedBytes } from "./packing.ts";
import { writeAnswer } from "./scores.ts";

/** An execution provider, by onnxruntime's name. */
export type Device = "cpu" | "cuda";

/** What a thread is started with. */
export type SessionSetup = {
  modelFile: string;
  /** How items become the model's inputs. */
  input: { kind: "text"; padId: number } | { kind: "image"; recipe: ImageRecipe };
  /** Labels of the model: the width of its output. */
  labels: number;
  device: Device;
  intraOpThreads: number;
};

/** `buffer` holds the packed batch, has room for its answer, and is transferred. */
export type ToThread = { kind: "batch"; buffer: ArrayBuffer; count: number; topK: number } | { kind: "close" };

/** First ready or invalid; then, for each batch and in their order, its buffer with the answer, or what the run threw. */
export type FromThread =
  | { kind: "ready" }
  | { kind: "invalid"; message: string }
  | { kind: "answer"; buffer: ArrayBuffer }
  | { kind: "failed"; buffer: ArrayBuffer; message: string };

/** What the model gets wrong is told by its outcome, so the library need not write it to standard error too. */
const FATAL_ONLY = 4;

type Batch = { buffer: ArrayBuffer; count: number; topK: number };
type Loaded = { session: InferenceSession; answer: (batch: Batch) => Promise<void> };

const port = parentPort!;
const setup = workerData as SessionSetup;
const tell = (message: FromThread, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

const loaded = await load(setup).catch((error: unknown) => {
  tell({ kind: "invalid", message: messageOf(error) });
});
if (loaded) {
  tell({ kind: "ready" });
  let turn = Promise.resolve();
  port.on("message", (message: ToThread) => {
    // One after the other: inputs of the next batch must not overwrite those of the batch that runs.
    turn = turn.then(() => handle(loaded, message));
  });
}

async function handle({ session, answer }: Loaded, message: ToThread): Promise<void> {
  if (message.kind === "close") {
    await session.release();
    port.close();
    return;
  }
  const { buffer } = message;
  try {
    await answer(message);
    tell({ kind: "answer", buffer }, [buffer]);
  } catch (error) {
    tell({ kind: "failed", buffer, message: messageOf(error) }, [buffer]);
  }
}

/** Loads the model and proves, with two small items, that it is what it is said to be. That run also warms it up. */
async function load({ modelFile, input, labels, device, intraOpThreads }: SessionSetup): Promise<Loaded> {
  const session = await InferenceSession.create(modelFile, {
    executionProviders: [device],
    intraOpNumThreads: intraOpThreads,
    interOpNumThreads: 1,
    logSeverityLevel: FATAL_ONLY,
    // Otherwise nodes that the device cannot run would run on the CPU, and nobody would hear of it.
    ...(device === "cpu" ? {} : { extra: { session: { disable_cpu_ep_fallback: "1" } } }),
  });
  try {
    const collate = makeCollator(session, input);
    const output = session.outputNames.find((name) => name === "logits") ?? session.outputNames[0]!;
    const answer = async ({ buffer, count, topK }: Batch): Promise<void> => {
      const feeds = Object.fromEntries(
        collate(buffer, count).map(({ name, data, dims }) => [name, new Tensor(data, dims)]),
      );
      const results = await session.run(feeds, [output], { logSeverityLevel: FATAL_ONLY });
      const logits = results[output]!;
      if (logits.type !== "float32" || logits.dims.join() !== `${count},${labels}`) {
        throw new Error(
          `output ${output}: expected float32 [${count}, ${labels}] (items, labels), got ${logits.type} [${logits.dims.join(", ")}]`,
        );
      }
      writeAnswer(logits.data as Float32Array, count, topK, buffer);
    };
    const items = trialItems(input);
    const buffer = new ArrayBuffer(packedBytes(items, 1));
    packBatch(items, buffer);
    await answer({ buffer, count: items.length, topK: 1 });
    return { session, answer };
  } catch (error) {
    await session.release();
    throw error;
  }
}

function makeCollator(session: InferenceSession, input: SessionSetup["input"]): Collator {
  const [known, type] = input.kind === "text" ? [TEXT_INPUTS, "int64"] : [[IMAGE_INPUT], "float32"];
  for (const meta of session.inputMetadata) {
    const came = meta.isTensor ? `${meta.name} (${meta.type})` : meta.name;
    if (!known.includes(meta.name) || !meta.isTensor || meta.type !== type) {
      throw new Error(`inputs: expected ${known.join(", ")} (${type}), got ${came}`);
    }
  }
  return input.kind === "text" ? textCollator(session.inputNames, input.padId) : imageCollator(input.recipe);
}

/** Two items, of two lengths where there are lengths: a model whose shapes are fixed fails here and not under load. */
function trialItems(input: SessionSetup["input"]): Packable[] {
  if (input.kind === "text") return [Int32Array.of(input.padId), Int32Array.of(input.padId, input.padId)];
  const size = input.recipe.width * input.recipe.height * 3;
  return [new Uint8Array(size), new Uint8Array(size)];
}
