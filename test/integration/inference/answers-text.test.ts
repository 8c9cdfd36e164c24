import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Engine } from "../../../src/inference/engine.ts";
import { BUILT_IN_DIR } from "../../../src/models/built-in.ts";
import type { LabelScore } from "../../../src/schemas/row.ts";
import {
  labelInOneBatch,
  labelsOf,
  labelTexts,
  largestDifference,
  openEngine,
  readAnswers,
  readPairs,
  SHARED,
  skipWithout,
  tokenize,
} from "../../helpers/models/answers.ts";
import {
  FIRST_TOKEN,
  LAST_TOKEN,
  writeLastTokenModel,
  writeQuantizedTextModel,
  writeRobertaModel,
} from "../../helpers/models/text-models.ts";
import { runProgram } from "../../helpers/python.ts";

const TINY = join(BUILT_IN_DIR, "tiny-sentiment");
const ANSWERS = "golden/answers/tiny-sentiment.jsonl";
const SENTENCES = "data/sst2-dev.tsv";
/** The share of the 872 sentences that the reference gets right, and the allowed difference. */
const ACCURACY = 0.8865;
const HALF_A_POINT = 0.005;

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-answers-"));
});
after(() => rm(root, { recursive: true }));

describe("tiny-sentiment and its reference", () => {
  const skip = skipWithout(ANSWERS, SENTENCES);

  test("the same labels, within 1e-3 the same scores, and the same accuracy on SST-2", { skip }, async (t) => {
    // Its weights are stored as int8 and become float32 when it is loaded, so all CPUs compute the same.
    const onnx = await readFile(join(TINY, "onnx/model.onnx"), "latin1");
    assert.doesNotMatch(onnx, /MatMulInteger|QuantizeLinear|QLinear/);
    const sentences = await readPairs(SENTENCES, "\t");
    const expected = await readAnswers<{ text: string } & LabelScore>(ANSWERS);
    assert.deepEqual([sentences.length, expected.length], [872, 872]);
    await using engine = await openEngine(TINY);
    const answers = await labelTexts(
      engine,
      sentences.map(([sentence]) => sentence),
    );
    let worst = 0;
    for (const [at, { text, label, score }] of expected.entries()) {
      assert.equal(sentences[at]![0].trim(), text);
      const [best, other] = answers[at]!;
      assert.equal(best!.label, label, text);
      worst = Math.max(worst, Math.abs(best!.score - score));
      assert.ok(Math.abs(best!.score + other!.score - 1) < 1e-12, text);
    }
    const right = sentences.filter(([, label], at) => answers[at]![0]!.label === engine.model.labels[Number(label)]);
    const accuracy = right.length / sentences.length;
    t.diagnostic(`scores differ by ${worst.toExponential(1)} at most; ${(100 * accuracy).toFixed(2)} % are right`);
    assert.ok(worst < 1e-3, String(worst));
    assert.ok(Math.abs(accuracy - ACCURACY) < HALF_A_POINT, String(accuracy));
  });
});

const WORDS = "the film is a slow but warm and funny story of two old friends who never say what they want , or love .";

/** `count` words, in a different order for each seed. */
function textOf(count: number, seed: number): string {
  const words = WORDS.split(" ");
  return Array.from({ length: count }, (_, at) => words[(at * (2 * seed + 3) + seed * seed) % words.length]).join(" ");
}

/**
 * Checks that texts with these numbers of words get the same answer alone, with shorter texts (which are padded) and with longer ones
 * (they are padded themselves). @returns the largest difference
 */
async function compareBatches(engine: Engine, counts: readonly number[], tolerance: number): Promise<number> {
  const parts = [1, 0.6, 0.75, 0.9, 1.2, 1.5, 1.8];
  const texts = counts.flatMap((words) => parts.map((part, at) => textOf(Math.ceil(part * words), words + at)));
  const tokens = await tokenize(engine, texts);
  let worst = 0;
  for (const [at, words] of counts.entries()) {
    const [probe, ...company] = tokens.slice(at * parts.length, (at + 1) * parts.length);
    const [alone] = await labelInOneBatch(engine, [probe!]);
    for (const others of [company.slice(0, 3), company.slice(3)]) {
      const padding = () => engine.stats.paddedCost - engine.stats.realCost;
      const before = padding();
      const [among] = await labelInOneBatch(engine, [probe!, ...others]);
      assert.ok(padding() > before, "the batch is padded");
      assert.equal(among![0]!.label, alone![0]!.label);
      const difference = largestDifference(alone!, among!);
      assert.ok(difference < tolerance, `${words} words: ${difference}`);
      worst = Math.max(worst, difference);
    }
  }
  return worst;
}

/** Writes a model with the architecture of DistilBERT and weights of seeded noise. */
async function makeDistilbert(dir: string): Promise<void> {
  const tool = join(SHARED, "tools/make-model.mjs");
  const { code, output } = await runProgram(process.execPath, [tool, "distilbert-random", dir]);
  assert.equal(code, 0, output);
}

describe("a text's answer does not depend on its batch", () => {
  test("tiny-sentiment, from 4 words to more than its limit", async (t) => {
    await using engine = await openEngine(TINY, { threads: 1, budget: 8192 });
    const worst = await compareBatches(engine, [4, 9, 25, 70, 250], 1e-4);
    t.diagnostic(`at most ${worst.toExponential(1)}`);
    const [long, other] = await tokenize(engine, [textOf(700, 1), textOf(400, 2)]);
    assert.equal(long!.tokens.length, 512);
    const [alone] = await labelInOneBatch(engine, [long!]);
    const [among] = await labelInOneBatch(engine, [long!, other!]);
    assert.ok(largestDifference(alone!, among!) < 1e-4);
  });

  test("the architecture of DistilBERT", { skip: skipWithout("tools/make-model.mjs") }, async (t) => {
    const dir = join(root, "distilbert-random");
    await makeDistilbert(dir);
    await using engine = await openEngine(dir, { threads: 1, intraOpThreads: 2, budget: 1024 });
    // With weights of noise, texts differ only by hundredths, so the tolerance is below the 1e-4 of real weights.
    const worst = await compareBatches(engine, [6, 14, 40], 1e-5);
    t.diagnostic(`at most ${worst.toExponential(1)}`);
  });

  test("a model that needs padding on the left: its texts are not padded", async () => {
    const dir = join(root, "last-token");
    await writeLastTokenModel(dir);
    await using engine = await openEngine(dir, { threads: 1, budget: 8192 });
    assert.equal(engine.model.paddingSide, "left");
    const texts = [20, 24, 20, 22, 24, 24].map((length, text) => ({
      tokens: Int32Array.from({ length }, (_, at) => 5 + 100 * text + at),
    }));
    const together = labelsOf(await engine.label(texts, 2));
    assert.equal(engine.stats.paddedCost, engine.stats.realCost);
    for (const [at, text] of texts.entries())
      assert.deepEqual(labelsOf(await engine.label([text], 2))[0], together[at]);
    assert.equal(new Set(together.map((row) => JSON.stringify(row))).size, texts.length);
  });

  for (const attentionMask of [true, false]) {
    test(`a padding token other than 0, ${attentionMask ? "masked" : "used as its own mask"}`, async () => {
      const dir = join(root, `roberta-${attentionMask}`);
      await writeRobertaModel(dir, { attentionMask });
      await using engine = await openEngine(dir, { threads: 1 });
      assert.equal(engine.model.padId, 1);
      await compareBatches(engine, [5, 12, 30], 1e-5);
    });
  }
});

describe("a dynamically quantized model", () => {
  /** Texts of many lengths, two of each. Each contains the extremes of the activations. */
  const texts = Array.from({ length: 24 }, (_, at) => ({
    tokens: Int32Array.of(FIRST_TOKEN, ...Array.from({ length: 3 + (at >> 1) }, (_, i) => 5 + 37 * at + i), LAST_TOKEN),
  }));

  /** The largest difference between the answers to all of the texts at once and to each alone. */
  async function dependence(engine: Engine): Promise<number> {
    const together = labelsOf(await engine.label(texts, 2));
    const differences: number[] = [];
    for (const [at, text] of texts.entries()) {
      const [alone] = labelsOf(await engine.label([text], 2));
      differences.push(largestDifference(alone!, together[at]!));
    }
    return Math.max(...differences);
  }

  test("as q8 it is never padded: a row gets the same answer as alone", async () => {
    const dir = join(root, "quantized");
    await writeQuantizedTextModel(dir);
    await using quantized = await openEngine(dir, { threads: 1 }, { dtype: "q8" });
    assert.ok((await dependence(quantized)) < 1e-6);
    assert.equal(quantized.stats.paddedCost, quantized.stats.realCost);
    // The counter-test: the same weights in padded batches.
    await using padded = await openEngine(dir, { threads: 1 });
    assert.ok((await dependence(padded)) > 0.1);
    assert.ok(padded.stats.paddedCost > padded.stats.realCost);
  });
});
