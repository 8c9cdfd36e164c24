import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import type { Engine } from "../../../src/inference/engine.ts";
import { BUILT_IN_DIR } from "../../../src/models/built-in.ts";
import type { LabelScore } from "../../../src/schemas/row.ts";
import {
  labelPictures,
  labelsOf,
  openEngine,
  readAnswers,
  readPairs,
  SHARED,
  scoresOf,
  skipWithout,
} from "../../helpers/models/answers.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";

type Answer = { input: string; top: ({ index: number } & LabelScore)[] };

const MOBILENET = join(SHARED, "models/mobilenet-v2-imagenet");
const PHOTOGRAPHS = "data/imagenet-samples";
const THUMBNAILS = "data/cifar10-samples";
const answersOf = (model: string) => `golden/answers/${model}.jsonl`;

/** Scores are softmax over all labels, best first, and no label of the model is lost or merged with another. */
function checkWhole({ model }: Engine, labels: readonly LabelScore[]): void {
  assert.deepEqual(labels.map(({ label }) => label).sort(), [...model.labels].sort());
  const sum = labels.reduce((total, { score }) => total + score, 0);
  assert.ok(Math.abs(sum - 1) < 1e-9, `all scores together are ${sum}`);
  for (const [at, { score }] of labels.entries()) assert.ok(at === 0 || score <= labels[at - 1]!.score);
}

/** Labels the inputs of the reference and compares labels and scores with its answers. @returns our answers, by input */
async function compare(t: TestContext, engine: Engine, file: string): Promise<Map<string, LabelScore[]>> {
  const expected = await readAnswers<Answer>(file);
  const inputs = expected.map(({ input }) => input);
  const answers = await labelPictures(engine, inputs);
  const differences: number[] = [];
  for (const [at, { input, top }] of expected.entries()) {
    const [best] = top;
    assert.equal(engine.model.labels[best!.index], best!.label);
    checkWhole(engine, answers[at]!);
    if (answers[at]![0]!.label !== best!.label) continue;
    const difference = Math.abs(answers[at]![0]!.score - best!.score);
    assert.ok(difference < 0.02, `${input}: ${difference}`);
    differences.push(difference);
  }
  const worst = Math.max(...differences).toExponential(1);
  t.diagnostic(
    `${differences.length} of ${expected.length} labels are the same; their scores differ by ${worst} at most`,
  );
  assert.ok(differences.length >= expected.length * 0.97, `${differences.length} of ${expected.length}`);
  return new Map(inputs.map((input, at) => [input, answers[at]!]));
}

describe("images and their reference answers", () => {
  const skipTiny = skipWithout(answersOf("tiny-image"), THUMBNAILS);
  test("tiny-image: labels, scores, and accuracy on CIFAR-10", { skip: skipTiny }, async (t) => {
    await using engine = await openEngine(join(BUILT_IN_DIR, "tiny-image"));
    const answers = await compare(t, engine, answersOf("tiny-image"));
    const pairs = await readPairs(`${THUMBNAILS}/labels.csv`, ",");
    assert.equal(pairs.length, 200);
    const right = pairs.filter(([file, label]) => answers.get(`${THUMBNAILS}/${file}`)![0]!.label === label);
    t.diagnostic(`${right.length} of ${pairs.length} are right`);
    // The reference gets 174 right. Half a percentage point is one of 200.
    assert.ok(Math.abs(right.length - 174) <= 1, String(right.length));
  });

  const skipMobilenet = skipWithout(answersOf("mobilenet-v2-imagenet"), PHOTOGRAPHS, "models/mobilenet-v2-imagenet");
  test("MobileNetV2: labels, scores, and accuracy on ImageNet", { skip: skipMobilenet }, async (t) => {
    // Its int8 weights become float32 when it is loaded. A node that quantizes activations would begin with a capital letter.
    assert.doesNotMatch(await readFile(join(MOBILENET, "onnx/model.onnx"), "latin1"), /QuantizeLinear|QLinear|Integer/);
    await using engine = await openEngine(MOBILENET);
    const { labels } = engine.model;
    assert.equal(labels.length, 1000);
    assert.deepEqual([labels[134], labels[517]], ["crane", "crane"]);
    const answers = await compare(t, engine, answersOf("mobilenet-v2-imagenet"));
    const pairs = await readPairs(`${PHOTOGRAPHS}/labels.csv`, ",");
    assert.equal(pairs.length, 100);
    const right = pairs.filter(([file, rest]) => {
      const label = labels[Number.parseInt(rest, 10)]!;
      // Labels are unique, so a label identifies its index.
      assert.equal(labels.indexOf(label), labels.lastIndexOf(label));
      return answers.get(`${PHOTOGRAPHS}/${file}`)![0]!.label === label;
    });
    t.diagnostic(`${right.length} of ${pairs.length} are right`);
    // The reference gets 95 right. One photograph is a percentage point; for one of them, two labels have scores of 0.39 and 0.38.
    assert.ok(Math.abs(right.length - 95) <= 1, String(right.length));
  });
});

describe("labels with the same name", () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "labelmill-answers-"));
  });
  after(() => rm(root, { recursive: true }));

  test("stay separate, each with its own score, the softmax over all labels", async () => {
    const logits = [1, 3, 0, 2.5];
    await writeTextModel(root, { weights: [0, 0, 0, 0], bias: logits });
    const config = JSON.parse(await readFile(join(root, "config.json"), "utf8"));
    const id2label = { 0: "kite", 1: "crane", 2: "maillot", 3: "crane" };
    await writeFile(join(root, "config.json"), JSON.stringify({ ...config, id2label }));
    await using engine = await openEngine(root);
    const items = [{ tokens: Int32Array.of(7) }];
    const [all] = labelsOf(await engine.label(items, 4));
    checkWhole(engine, all!);
    assert.deepEqual(
      all!.map(({ label }) => label),
      ["crane", "crane", "kite", "maillot"],
    );
    const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
    for (const [at, logit] of [3, 2.5, 1, 0].entries())
      assert.ok(Math.abs(all![at]!.score - Math.exp(logit) / sum) < 1e-7);
    // Scores are over all labels, also if fewer are requested.
    const [two] = labelsOf(await engine.label(items, 2));
    assert.deepEqual(two, all!.slice(0, 2));
    assert.equal(scoresOf(two!).size, 1);
  });
});
