/** The answers of reference implementations (`../shared`, beside the project), and helpers that label items as a worker does. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Engine, type EngineOptions, type Outcome, type Prepared } from "../../../src/inference/engine.ts";
import { type LoadOptions, loadModel } from "../../../src/inference/model/model.ts";
import { decodeImage } from "../../../src/inference/preprocess/image/decode-image.ts";
import { PreparePool } from "../../../src/inference/preprocess/prepare-pool.ts";
import type { LabelScore } from "../../../src/schemas/row.ts";

export const SHARED = fileURLToPath(new URL("../../../../shared/", import.meta.url));

/** For a test's `skip`: false if all these paths are in `../shared`, else the reason. */
export function skipWithout(...paths: string[]): string | false {
  const missing = paths.find((path) => !existsSync(join(SHARED, path)));
  return missing === undefined ? false : `../shared/${missing} does not exist`;
}

/** The objects of a JSONL file of `../shared`. */
export async function readAnswers<T>(path: string): Promise<T[]> {
  return (await readLines(path)).map((line) => JSON.parse(line));
}

/** The rows of a CSV or TSV file of `../shared`, without its header: the text before and after the first separator. */
export async function readPairs(path: string, separator: string): Promise<[string, string][]> {
  return (await readLines(path)).slice(1).map((line) => {
    const at = line.indexOf(separator);
    return [line.slice(0, at), line.slice(at + 1)];
  });
}

async function readLines(path: string): Promise<string[]> {
  return (await readFile(join(SHARED, path), "utf8")).trimEnd().split("\n");
}

/** Starts an engine with a model folder, with budgets for two cores. */
export async function openEngine(
  dir: string,
  options: Partial<EngineOptions> = {},
  loading: LoadOptions = {},
): Promise<Engine> {
  const model = await loadModel(dir, loading);
  const budget = model.task === "text-classification" ? 512 : 8;
  return Engine.start({ model, cores: 2, threads: 2, intraOpThreads: 1, budget, ...options });
}

/** Texts as token ids, from the pool that a worker uses. */
export async function tokenize({ model }: Engine, texts: readonly string[]): Promise<{ tokens: Int32Array }[]> {
  const pool = await PreparePool.start({ modelDir: model.dir, threads: 1 });
  try {
    const { ids, offsets } = await pool.tokenize(texts);
    return texts.map((_, at) => ({ tokens: ids.subarray(offsets[at], offsets[at + 1]) }));
  } finally {
    await pool.close();
  }
}

/** All scores of each text, best first. */
export async function labelTexts(engine: Engine, texts: readonly string[]): Promise<LabelScore[][]> {
  return labelsOf(await engine.label(await tokenize(engine, texts), engine.model.labels.length));
}

/** All scores of each image, best first. Sixteen calls of one image run at a time, so that they share batches. */
export async function labelPictures(engine: Engine, paths: readonly string[]): Promise<LabelScore[][]> {
  const all: LabelScore[][] = [];
  const rest = paths.entries();
  const work = async (): Promise<void> => {
    for (const [at, path] of rest) {
      const pixels = await decodeImage(await readFile(join(SHARED, path)), engine.model.recipe!);
      const [labels] = labelsOf(await engine.label([{ pixels }], engine.model.labels.length));
      all[at] = labels!;
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  return all;
}

export function labelsOf(outcomes: readonly Outcome[]): LabelScore[][] {
  return outcomes.map((outcome) => {
    if ("labels" in outcome) return outcome.labels;
    throw new Error(`${outcome.error.code}: ${outcome.error.message}`);
  });
}

/** The scores of one outcome, by label. */
export function scoresOf(labels: readonly LabelScore[]): Map<string, number> {
  return new Map(labels.map(({ label, score }) => [label, score]));
}

/** The largest difference of a label's score between two answers for one item. */
export function largestDifference(a: readonly LabelScore[], b: readonly LabelScore[]): number {
  const others = scoresOf(b);
  return Math.max(...a.map(({ label, score }) => Math.abs(score - (others.get(label) ?? Number.NaN))));
}

/** Labels items in one batch. @throws Error if they did not share one: a comparison would then be meaningless */
export async function labelInOneBatch(engine: Engine, prepared: readonly Prepared[]): Promise<LabelScore[][]> {
  const before = engine.stats.batches;
  const labels = labelsOf(await engine.label(prepared, engine.model.labels.length));
  const batches = engine.stats.batches - before;
  if (batches !== 1) throw new Error(`expected one batch, got ${batches}`);
  return labels;
}
