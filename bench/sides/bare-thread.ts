/**
 * onnxruntime-node and nothing else: one session, the inputs of all batches made before the clock starts. Threads take the
 * next batch from one counter that they share, and answer with the milliseconds of each.
 */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { ImageRecipe } from "../../src/inference/model/image-recipe.ts";

/** Items that go through the model in one run: token ids of each, or the pixels of each (height × width × RGB). */
export type BareBatch = { texts: Int32Array[] } | { images: Uint8Array[] };

export type BareSetup = {
  modelFile: string;
  padId: number;
  /** Image models have one. */
  recipe: ImageRecipe | undefined;
  intraOpThreads: number;
  batches: BareBatch[];
  /** Runs of all threads together; they begin again with the first batch where there are fewer batches. */
  runs: number;
  warmUpMs: number;
  /** The next run's number: one int32, for all threads. */
  next: SharedArrayBuffer;
};

const port = parentPort!;
const { modelFile, padId, recipe, intraOpThreads, batches, runs, warmUpMs, next } = workerData as BareSetup;
const session = await InferenceSession.create(modelFile, {
  executionProviders: ["cpu"],
  intraOpNumThreads: intraOpThreads,
  interOpNumThreads: 1,
});
const feeds = batches.map((batch) => ("texts" in batch ? textFeeds(batch.texts) : imageFeeds(batch.images)));

const warmUntil = performance.now() + warmUpMs;
for (let at = 0; at === 0 || performance.now() < warmUntil; at++) await session.run(feeds[at % feeds.length]!);

// The port receives only "go" and its close event.
port.once("message", async () => {
  const counter = new Int32Array(next);
  const times: number[] = [];
  for (let at = Atomics.add(counter, 0, 1); at < runs; at = Atomics.add(counter, 0, 1)) {
    const startedAt = performance.now();
    await session.run(feeds[at % feeds.length]!);
    times.push(performance.now() - startedAt);
  }
  port.postMessage(times);
  await session.release();
});
port.postMessage("ready");

function textFeeds(texts: readonly Int32Array[]): Record<string, Tensor> {
  const longest = Math.max(...texts.map((text) => text.length));
  const size = texts.length * longest;
  const ids = new BigInt64Array(size).fill(BigInt(padId));
  const mask = new BigInt64Array(size);
  for (const [row, text] of texts.entries()) {
    ids.set(BigInt64Array.from(text, BigInt), row * longest);
    mask.fill(1n, row * longest, row * longest + text.length);
  }
  const made: Record<string, BigInt64Array> = { input_ids: ids, attention_mask: mask };
  const dims = [texts.length, longest];
  return Object.fromEntries(
    session.inputNames.map((name) => [name, new Tensor("int64", made[name] ?? new BigInt64Array(size), dims)]),
  );
}

function imageFeeds(images: readonly Uint8Array[]): Record<string, Tensor> {
  const { width, height, rescale, mean, std } = recipe!;
  const area = width * height;
  const data = new Float32Array(images.length * 3 * area);
  for (const [item, pixels] of images.entries())
    for (let at = 0; at < 3 * area; at++) {
      const channel = at % 3;
      data[(item * 3 + channel) * area + (at - channel) / 3] = (pixels[at]! * rescale - mean[channel]!) / std[channel]!;
    }
  return { [session.inputNames[0]!]: new Tensor("float32", data, [images.length, 3, height, width]) };
}
