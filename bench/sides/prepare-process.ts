/** The shipped preparation of items alone: the tokenizer pool, or sharp's decoding, at a given concurrency. Results are dropped. */
import { readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import type { Model } from "../../src/inference/model/model.ts";
import { decodeImage } from "../../src/inference/preprocess/image/decode-image.ts";
import { PreparePool } from "../../src/inference/preprocess/prepare-pool.ts";
import { openInput } from "../inputs/inputs.ts";
import { kindOf, openModel } from "../inputs/models.ts";
import { answerCalls } from "../processes/calls.ts";
import type { Rate } from "../report/rounds.ts";

/** `threads` are the tokenizer's; sharp has its own. `atATime`: slices of texts, or pictures. */
export type PrepareMode = { threads: number; atATime: number };

/** As many texts go to the tokenizer in one message as a slice has. */
const MESSAGE_TEXTS = 500;
/** Files in memory, used in turn. */
const MOST_PICTURES = 100;

let pool: { threads: number; tokenizers: PreparePool } | undefined;
let loaded: { model: Model; slices: string[][]; pictures: Uint8Array[] } | undefined;

const calls = {
  load: async ({ model: ref, input }: { model: string; input: string }): Promise<void> => {
    const model = await openModel(ref);
    loaded = { model, slices: [], pictures: [] };
    const texts: string[] = [];
    for await (const { text, image } of (await openInput(kindOf(model), input)).records()) {
      if (text !== undefined) texts.push(text);
      else if (loaded.pictures.length < MOST_PICTURES)
        loaded.pictures.push(new Uint8Array(await readFile(fileURLToPath(image!))));
    }
    for (let at = 0; at < texts.length; at += MESSAGE_TEXTS) loaded.slices.push(texts.slice(at, at + MESSAGE_TEXTS));
  },

  /** Prepares the loaded input repeatedly for `seconds`, without the start of the threads. */
  run: async ({ mode, seconds }: { mode: PrepareMode; seconds: number }): Promise<Rate> => {
    const { model, slices, pictures } = loaded!;
    if (kindOf(model) === "images")
      return repeat(mode.atATime, seconds, async (at) => {
        await decodeImage(pictures[at % pictures.length]!, model.recipe!);
        return 1;
      });
    const tokenizers = await poolOf(model, mode.threads);
    return repeat(mode.atATime, seconds, async (at) => {
      const slice = slices[at % slices.length]!;
      await tokenizers.tokenize(slice);
      return slice.length;
    });
  },
};
export type PrepareCalls = typeof calls;

/** The same pool while the number of threads is the same: its threads are then as warm as those of the pipeline. */
async function poolOf(model: Model, threads: number): Promise<PreparePool> {
  if (pool?.threads === threads) return pool.tokenizers;
  await pool?.tokenizers.close();
  pool = { threads, tokenizers: await PreparePool.start({ modelDir: model.dir, threads }) };
  return pool.tokenizers;
}

/** @param work processes the piece with that number and returns its items */
async function repeat(atATime: number, seconds: number, work: (at: number) => Promise<number>): Promise<Rate> {
  const startedAt = performance.now();
  const until = startedAt + seconds * 1000;
  let next = 0;
  let items = 0;
  const lane = async () => {
    while (performance.now() < until) {
      const done = await work(next++);
      items += done;
    }
  };
  await Promise.all(Array.from({ length: atATime }, lane));
  return { items, seconds: (performance.now() - startedAt) / 1000 };
}

answerCalls(calls, async () => pool?.tokenizers.close());
