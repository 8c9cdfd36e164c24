/** The other side: onnxruntime-node alone, on the items that the pipeline gets, prepared as the pipeline prepares them. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Model } from "../../src/inference/model/model.ts";
import { decodeImage } from "../../src/inference/preprocess/image/decode-image.ts";
import { loadTokenizer } from "../../src/inference/preprocess/text/tokenizer.ts";
import { openInput } from "../inputs/inputs.ts";
import { kindOf, openModel } from "../inputs/models.ts";
import { answerCalls } from "../processes/calls.ts";
import type { Rate } from "../report/rounds.ts";
import type { BareBatch, BareSetup } from "./bare-thread.ts";

/** How onnxruntime-node runs: `budget` is the padded tokens of a batch (longest × count), or its images. */
export type BareMode = { sessions: number; threads: number; budget: number };
/** Lengths in tokens; 1 for images. */
export type BareInput = { items: number; meanLength: number; longest: number };

/** Token ids of a text, or the pixels of an image. */
type Prepared = Int32Array | Uint8Array;

/** The pixels do not change the speed, so this many pictures are in memory and used in turn: whole batches of each size. */
const HELD_IMAGES = 32;
const THREAD = new URL("./bare-thread.ts", import.meta.url);

/** What is measured: `items` items, repeated if fewer are in memory. */
let loaded: { model: Model; held: Prepared[]; items: number } | undefined;

const calls = {
  load: async ({ model: ref, input }: { model: string; input: string }): Promise<BareInput> => {
    const model = await openModel(ref);
    const found = await (kindOf(model) === "text" ? readTokens(model, input) : readPixels(model, input));
    loaded = { model, ...found };
    const lengths = found.held.map(lengthOf);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
    return { items: found.items, meanLength: total / lengths.length, longest };
  },

  /** Runs all items, or the next `items` of them. @returns the time that it took, without start and warm-up */
  run: async ({ mode, warmUpMs, items }: { mode: BareMode; warmUpMs: number; items?: number }): Promise<Rate> => {
    const { model, held, items: all } = loaded!;
    const batches = cut(held, mode.budget);
    const runs = Math.max(1, Math.round(((items ?? all) / held.length) * batches.length));
    const { seconds } = await runBatches(model, mode, batches.map(batchOf), runs, warmUpMs);
    return { items: (runs / batches.length) * held.length, seconds };
  },

  /** All items once, each alone, in their order and in one session. @returns milliseconds of each */
  each: async ({ threads, warmUpMs }: { threads: number; warmUpMs: number }): Promise<number[]> => {
    const { model, held } = loaded!;
    const alone = held.map((item) => batchOf([item]));
    const { times } = await runBatches(model, { sessions: 1, threads }, alone, alone.length, warmUpMs);
    return times;
  },
};
export type BareCalls = typeof calls;

async function runBatches(
  model: Model,
  { sessions, threads }: Omit<BareMode, "budget">,
  batches: BareBatch[],
  runs: number,
  warmUpMs: number,
): Promise<{ seconds: number; times: number[] }> {
  const setup: BareSetup = {
    modelFile: model.modelFile,
    padId: model.padId,
    recipe: model.recipe,
    intraOpThreads: threads,
    batches,
    runs,
    warmUpMs,
    next: new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT),
  };
  const workers = Array.from({ length: sessions }, () => new Worker(THREAD, { workerData: setup }));
  const exits = workers.map((worker) => once(worker, "exit"));
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const startedAt = performance.now();
  const done = workers.map((worker) => once(worker, "message") as Promise<[number[]]>);
  for (const worker of workers) worker.postMessage("go");
  const times = (await Promise.all(done)).flatMap(([each]) => each);
  const seconds = (performance.now() - startedAt) / 1000;
  await Promise.all(exits);
  return { seconds, times };
}

async function readTokens(model: Model, input: string): Promise<{ held: Prepared[]; items: number }> {
  const tokenizer = await loadTokenizer(model.dir);
  const held: Prepared[] = [];
  for await (const { text } of (await openInput("text", input)).records()) {
    held.push(tokenizer.encode([text!]).ids);
  }
  return { held, items: held.length };
}

async function readPixels(model: Model, input: string): Promise<{ held: Prepared[]; items: number }> {
  const held: Prepared[] = [];
  let items = 0;
  for await (const { image } of (await openInput("images", input)).records()) {
    items++;
    if (held.length < HELD_IMAGES) held.push(await decodeImage(await readFile(fileURLToPath(image!)), model.recipe!));
  }
  for (let at = 0; held.length < HELD_IMAGES; at++) held.push(held[at]!);
  return { held, items };
}

function lengthOf(item: Prepared): number {
  return item instanceof Int32Array ? item.length : 1;
}

/** Sorted by length, the longest first, so that the threads end together; each batch as large as the budget lets it be. */
function cut(held: readonly Prepared[], budget: number): Prepared[][] {
  const batches: Prepared[][] = [];
  let room = 0;
  for (const item of held.toSorted((a, b) => lengthOf(b) - lengthOf(a))) {
    if (room === 0) {
      batches.push([]);
      room = Math.max(1, Math.floor(budget / lengthOf(item)));
    }
    batches.at(-1)!.push(item);
    room--;
  }
  return batches;
}

function batchOf(items: readonly Prepared[]): BareBatch {
  const texts = items.filter((item) => item instanceof Int32Array);
  return texts.length > 0 ? { texts } : { images: items as Uint8Array[] };
}

answerCalls(calls, async () => {});
