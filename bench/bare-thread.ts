/**
 * onnxruntime-node and nothing else: one session, the inputs of all batches made before the clock starts. Threads take the
 * next batch from one counter that they share, and answer with the milliseconds of each.
 */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { imageCollator, textCollator } from "../src/inference/collate.ts";
import type { SessionSetup } from "../src/inference/session-thread.ts";

/** Items that go through the model in one run, packed as src/inference/packing.ts says. */
export type PackedBatch = { buffer: ArrayBuffer; count: number };

export type BareSetup = Pick<SessionSetup, "modelFile" | "input" | "intraOpThreads"> & {
  batches: PackedBatch[];
  /** Runs of all threads together; they begin again with the first batch where there are fewer batches. */
  runs: number;
  warmUpMs: number;
  /** The next run's number: one int32, for all threads. */
  next: SharedArrayBuffer;
};

const port = parentPort!;
const { modelFile, input, intraOpThreads, batches, runs, warmUpMs, next } = workerData as BareSetup;
const session = await InferenceSession.create(modelFile, {
  executionProviders: ["cpu"],
  intraOpNumThreads: intraOpThreads,
  interOpNumThreads: 1,
});
const feeds = batches.map(({ buffer, count }) => {
  // A collator writes over what it made before, so each batch has one of its own.
  const collate = input.kind === "text" ? textCollator(session.inputNames, input.padId) : imageCollator(input.recipe);
  return Object.fromEntries(collate(buffer, count).map(({ name, data, dims }) => [name, new Tensor(data, dims)]));
});

const warmUntil = performance.now() + warmUpMs;
for (let at = 0; at === 0 || performance.now() < warmUntil; at++) await session.run(feeds[at % feeds.length]!);

// "go" and the end of the port's life are all that comes.
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
