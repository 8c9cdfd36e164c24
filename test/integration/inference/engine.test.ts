import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { Engine, type EngineOptions, type Outcome } from "../../../src/inference/engine.ts";
import { loadTokenizer } from "../../../src/inference/preprocess/text/tokenizer.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { type TinyModel, writeImageModel, writeTextModel } from "../../helpers/models/onnx.ts";

const BUILT_IN = fileURLToPath(new URL("../../../models/", import.meta.url));
const SHARED = fileURLToPath(new URL("../../../../shared/", import.meta.url));
const noAnswers = existsSync(join(SHARED, "golden/answers"))
  ? false
  : "the reference answers (../shared/golden) are not here";

/** The score of a text decides between three labels: L0 above 50, L1 from −50 to 50, L2 below, which no text reaches. */
const TINY: TinyModel = { weights: [0.01, 0, -0.01], bias: [0, 0.5, 0] };

const BUDGETS = { "text-classification": 512, "image-classification": 8 } as const;

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-engine-"));
});
after(() => rm(root, { recursive: true }));

async function open(ref: string, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const model = await loadBuiltIn(ref);
  return Engine.start({ model, cores: 2, threads: 2, intraOpThreads: 1, budget: BUDGETS[model.task], ...options });
}

async function tinyFolder(changes: Partial<TinyModel> = {}): Promise<string> {
  const dir = await mkdtemp(join(root, "tiny-"));
  await writeTextModel(dir, { ...TINY, ...changes });
  return dir;
}

const tokens = (...texts: number[][]) => texts.map((ids) => ({ tokens: Int32Array.from(ids) }));

/** The best label of each item, or its error's code. */
function heads(outcomes: readonly Outcome[]): string[] {
  return outcomes.map((outcome) => ("labels" in outcome ? outcome.labels[0]!.label : outcome.error.code));
}

/** The expected scores of TINY's labels, by the definition of softmax. */
function tinyScores(score: number): Map<string, number> {
  const exps = TINY.weights.map((weight, at) => Math.exp(weight * score + TINY.bias[at]!));
  const sum = exps.reduce((total, exp) => total + exp, 0);
  return new Map(exps.map((exp, at) => [`L${at}`, exp / sum]));
}

async function tokenize(texts: readonly string[]): Promise<{ tokens: Int32Array }[]> {
  const tokenizer = await loadTokenizer(join(BUILT_IN, "tiny-sentiment"));
  const { ids, offsets } = tokenizer.encode([...texts]);
  return texts.map((_, at) => ({ tokens: ids.slice(offsets[at]!, offsets[at + 1]!) }));
}

async function readLines(file: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(SHARED, file), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("Engine with the built-in models", () => {
  it("fills batches, with little padding", { skip: noAnswers }, async () => {
    await using engine = await open("tiny-sentiment");
    const golden = await readLines("golden/answers/tiny-sentiment.jsonl");
    await engine.label(await tokenize(golden.map((line) => String(line.text))), 2);
    const { items, batches, realCost, paddedCost } = engine.stats;
    assert.equal(items, golden.length);
    assert.ok(batches < golden.length / 4, "items share batches");
    assert.ok(paddedCost < realCost * 1.15, `little padding: ${realCost} tokens, ${paddedCost} with it`);
  });

  it("a token that is not in the vocabulary fails its own text only", async () => {
    await using engine = await open("tiny-sentiment");
    const texts = await tokenize(["a wonderful film", "an awful film", "simply great", "a waste of time"]);
    texts.splice(2, 0, { tokens: Int32Array.of(101, 99_999_999, 102) });
    const outcomes = heads(await engine.label(texts, 1));
    assert.deepEqual(outcomes, ["POSITIVE", "NEGATIVE", "ITEM_FAILED", "POSITIVE", "NEGATIVE"]);
  });
});

describe("Engine", () => {
  it("gives each item of many callers its own answer, with as many labels as requested", async () => {
    await using engine = await open(await tinyFolder(), { budget: 64 });
    const calls = Array.from({ length: 30 }, (_, call) =>
      Array.from({ length: 1 + (call % 7) }, (_, item) =>
        Array.from({ length: 1 + ((call * item) % 20) }, () => call + item),
      ),
    );
    const answers = await Promise.all(calls.map((texts, call) => engine.label(tokens(...texts), 1 + (call % 5))));
    for (const [call, texts] of calls.entries()) {
      for (const [item, ids] of texts.entries()) {
        const outcome = answers[call]![item]!;
        assert.ok("labels" in outcome);
        assert.equal(outcome.labels.length, Math.min(3, 1 + (call % 5)));
        const expected = tinyScores(ids.reduce((sum, id) => sum + id, 0));
        for (const [at, { label, score }] of outcome.labels.entries()) {
          assert.ok(Math.abs(score - expected.get(label)!) < 1e-5, `${label} ${score}`);
          assert.ok(at === 0 || score <= outcome.labels[at - 1]!.score, "best first");
        }
      }
    }
    assert.ok(engine.stats.batches < engine.stats.items, "callers share batches");
    assert.equal(engine.held, 0);
  });

  it("logits that are not finite fail their own item only", async () => {
    await using engine = await open(await tinyFolder({ nanFrom: 100 }));
    const outcomes = await engine.label(tokens([5], [99], [100], [60, 60], [99]), 1);
    assert.deepEqual(heads(outcomes), ["L1", "L0", "NOT_FINITE", "NOT_FINITE", "L0"]);
  });

  it("scores logits of any size; among equal scores the lower index is first", async () => {
    await using engine = await open(await tinyFolder({ weights: [10, 0, -10] }));
    const [large, none] = await engine.label(tokens([9999], [0]), 3);
    assert.ok(large && "labels" in large && none && "labels" in none);
    assert.deepEqual(large.labels[0], { label: "L0", score: 1 });
    assert.deepEqual(
      none.labels.map(({ label }) => label),
      ["L1", "L0", "L2"],
    );
  });

  it("refuses an item of the wrong kind or size, and labels its neighbours", async () => {
    await using text = await open(await tinyFolder());
    const mixed = [...tokens([5], []), { pixels: new Uint8Array(12) }, ...tokens([99])];
    assert.deepEqual(heads(await text.label(mixed, 1)), ["L1", "EMPTY_TEXT", "ITEM_FAILED", "L0"]);
    assert.deepEqual(await text.label([], 1), []);

    const dir = await mkdtemp(join(root, "image-"));
    await writeImageModel(dir, { weights: [1, 0], bias: [0, 0.5] });
    await using image = await open(dir);
    const [white, black] = [new Uint8Array(192).fill(255), new Uint8Array(192)];
    const pictures = [{ pixels: white }, { pixels: black }, { pixels: new Uint8Array(191) }, ...tokens([1])];
    assert.deepEqual(heads(await image.label(pictures, 1)), ["L0", "L1", "ITEM_FAILED", "ITEM_FAILED"]);
  });

  it("refuses a model that is damaged or does not fit its configuration", async () => {
    const damaged = await tinyFolder();
    await truncate(join(damaged, "onnx/model.onnx"), 200);
    await assert.rejects(open(damaged), { code: "MODEL_INVALID", message: /model\.onnx/ });

    const narrow = await tinyFolder();
    const two = { architectures: ["TinyForSequenceClassification"], id2label: { 0: "A", 1: "B" } };
    await writeFile(join(narrow, "config.json"), JSON.stringify(two));
    await assert.rejects(open(narrow), {
      code: "MODEL_INVALID",
      message: /\[2, 2\] \(items, labels\), got float32 \[2, 3\]/,
    });

    const image = await mkdtemp(join(root, "image-"));
    await writeImageModel(image, { ...TINY, side: 8 });
    const swapped = await tinyFolder();
    await cp(join(image, "onnx/model.onnx"), join(swapped, "onnx/model.onnx"));
    await assert.rejects(open(swapped), { code: "MODEL_INVALID", message: /expected input_ids.*got pixel_values/ });

    await writeImageModel(join(image, "other"), { ...TINY, side: 16 });
    await cp(join(image, "other/preprocessor_config.json"), join(image, "preprocessor_config.json"));
    await assert.rejects(open(image), { code: "MODEL_INVALID", message: /pixel_values/ });
  });

  it("fails the batches of a lost thread as retryable, and continues with a new thread", async () => {
    const worker = new Promise<Worker>((resolve) => process.once("worker", resolve));
    await using engine = await open(await tinyFolder(), { threads: 1 });
    // Not a valid message: the thread reads it before the batch, and ends.
    (await worker).postMessage(null);
    await assert.rejects(engine.label(tokens([5]), 1), { code: "INFERENCE_FAILED", retryable: true });
    assert.deepEqual(heads(await engine.label(tokens([5], [99]), 1)), ["L1", "L0"]);
  });

  it("answers its items when it is closed, and rejects new ones", async () => {
    const engine = await open(await tinyFolder({ slow: 2000 }), { threads: 1, budget: 2 });
    const call = engine.label(tokens([1], [2], [3], [99], [5]), 1);
    await engine.label(tokens([6]), 1);
    const another = engine.label(tokens([7], [8], [9]), 1);
    const closing = engine.close();
    await assert.rejects(engine.label(tokens([1]), 1), { code: "ABORTED" });
    assert.deepEqual(heads(await call), ["L1", "L1", "L1", "L0", "L1"]);
    assert.equal((await another).length, 3);
    await closing;
  });

  it("leaves no thread behind after 50 starts and after a failed one", async () => {
    const dir = await tinyFolder();
    // An unknown operator: only the threads detect it.
    const damaged = await tinyFolder();
    const onnx = await readFile(join(damaged, "onnx/model.onnx"), "latin1");
    await writeFile(join(damaged, "onnx/model.onnx"), onnx.replace("Gather", "Gathex"), "latin1");
    let alive = 0;
    let most = 0;
    const count = (worker: Worker) => {
      most = Math.max(most, ++alive);
      worker.once("exit", () => alive--);
    };
    process.on("worker", count);
    for (let round = 0; round < 50; round++) {
      const engine = await open(dir, { threads: 1 });
      await engine.label(tokens([round]), 1);
      await engine.close();
      assert.equal(alive, 0);
    }
    await assert.rejects(open(damaged, { threads: 2 }));
    process.off("worker", count);
    assert.equal(alive, 0);
    assert.equal(most, 2);
  });

  it("keeps the main thread free while the model is busy", async () => {
    await using engine = await open(await tinyFolder({ slow: 30_000 }), { budget: 8 });
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const started = performance.now();
    await engine.label(tokens(...Array.from({ length: 48 }, (_, at) => [at])), 1);
    const busyMs = performance.now() - started;
    delay.disable();
    const p99Ms = delay.percentile(99) / 1e6;
    assert.ok(busyMs > 200, `the model was busy: ${busyMs} ms`);
    assert.ok(p99Ms < 100, `event-loop delay at p99: ${p99Ms} ms`);
  });
});
