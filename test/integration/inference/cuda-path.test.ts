/** The path of a batch to a GPU, tested without a GPU: a scripted session replaces onnxruntime's. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Device } from "../../../src/inference/devices/device.ts";
import { Engine, type EngineOptions, type Outcome, type Prepared } from "../../../src/inference/engine.ts";
import type { Model } from "../../../src/inference/model/model.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";
import {
  callsOf,
  runsOf,
  SCRIPTED_LABELS,
  SCRIPTED_THREAD,
  type Script,
  writeScripted,
} from "../../helpers/threads/scripted-session.ts";

type Kind = "text" | "image";
type StartOptions = {
  script?: Omit<Script, "log">;
  devices?: Device[];
  options?: Partial<EngineOptions>;
  /** Fields of config.json and tokenizer_config.json. */
  config?: Record<string, unknown>;
};

const PIXELS = 8 * 8 * 3;
const LENGTHS = [16, 32, 64, 128, 256, 512];
const ROWS = [1, 4, 16, 64, 256];

let root: Awaited<ReturnType<typeof temporaryFolder>>;
let count = 0;
before(async () => {
  root = await temporaryFolder();
});
after(() => root[Symbol.asyncDispose]());

async function start(kind: Kind, { script = {}, devices = ["cuda:0"], options, config = {} }: StartOptions = {}) {
  const model = await writeScripted(join(root.path, `model-${count++}`), kind, script);
  for (const name of kind === "text" ? ["config.json", "tokenizer_config.json"] : []) {
    const file = join(model.dir, name);
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, "utf8")), ...config }));
  }
  const engine = await Engine.start({ model, devices, cores: 2, thread: SCRIPTED_THREAD, ...options });
  const warmed = runsOf(await callsOf(model)).length;
  return { model, engine, warmed, [Symbol.asyncDispose]: () => engine.close() };
}

/** Texts with these numbers of tokens. */
function texts(lengths: readonly number[]): { items: Prepared[]; expected: string[] } {
  const ids = lengths.map((length, at) => Int32Array.from({ length }, (_, token) => 1 + ((at * 7 + token) % 50)));
  const sums = ids.map((tokens) => tokens.reduce((sum, id) => sum + id, 0));
  return { items: ids.map((tokens) => ({ tokens })), expected: sums.map((sum) => `L${sum % SCRIPTED_LABELS}`) };
}

function pictures(number: number): { items: Prepared[]; expected: string[] } {
  const values = Array.from({ length: number }, (_, at) => (at * 3) % 256);
  const items = values.map((value) => ({ pixels: new Uint8Array(PIXELS).fill(value) }));
  return { items, expected: values.map((value) => `L${value % SCRIPTED_LABELS}`) };
}

function best(outcomes: readonly Outcome[]): string[] {
  return outcomes.map((outcome) => ("labels" in outcome ? outcome.labels[0]!.label : outcome.error.code));
}

/** Shapes such as `8×1`, without duplicates, the largest first. */
async function shapesOf(model: Model, from = 0): Promise<string[]> {
  const shapes = runsOf(await callsOf(model)).map(({ shape }) => shape);
  const sorted = shapes.slice(from).sort((a, b) => b.rows * b.length - a.rows * a.length || b.rows - a.rows);
  return [...new Set(sorted.map(({ rows, length }) => `${rows}×${length}`))];
}

/** Settles when the engine has sent this many batches to its threads. */
async function untilBatches(engine: Engine, batches: number): Promise<void> {
  while (engine.stats.batches < batches && engine.held > 0) await new Promise(setImmediate);
}

describe("A GPU", () => {
  it("is selected by its index, one thread each, with the shapes to warm up", async () => {
    await using started = await start("image", { devices: ["cuda:0", "cuda:3"] });
    const opened = (await callsOf(started.model)).flatMap((asked) => (asked.kind === "open" ? [asked.setup] : []));
    assert.deepEqual(opened.map(({ device }) => device).sort(), ["cuda:0", "cuda:3"]);
    for (const { warmUp, strict } of opened) {
      assert.deepEqual(warmUp, [
        { rows: 64, length: 1 },
        { rows: 8, length: 1 },
      ]);
      assert.equal(strict, undefined, "what computes shapes may run on the CPU");
    }
    assert.deepEqual(started.engine.devices, ["cuda:0", "cuda:3"]);
    assert.equal(started.engine.layout.threads, 2);
  });

  it("runs each shape, the largest first, before the first item", async () => {
    await using text = await start("text");
    const runs = runsOf(await callsOf(text.model)).map(({ shape }) => shape);
    const costs = runs.map(({ rows, length }) => rows * length);
    assert.deepEqual(
      costs,
      costs.toSorted((a, b) => b - a),
    );
    const all = LENGTHS.flatMap((length) => ROWS.map((rows) => `${rows}×${length}`));
    const within = all.filter((shape) => shape !== "256×512");
    assert.deepEqual(new Set(await shapesOf(text.model)), new Set(within), "131,072 tokens are too many");
    await using image = await start("image");
    const sizes = runsOf(await callsOf(image.model)).map(({ shape }) => shape.rows);
    assert.deepEqual(sizes, [64, 8], "and nothing else: a third size would cost another search for convolutions");
  });

  it("runs images in two batch sizes only, and padding rows get no answers", async () => {
    await using started = await start("image");
    for (const number of [1, 3, 8, 9, 63, 64, 65, 200]) {
      const { items, expected } = pictures(number);
      assert.deepEqual(best(await started.engine.label(items, 1)), expected);
    }
    assert.deepEqual(await shapesOf(started.model), ["64×1", "8×1"]);
  });

  it("uses a given batch size of images as the largest one", async () => {
    await using started = await start("image", { options: { budget: 20 } });
    const { items, expected } = pictures(50);
    assert.deepEqual(best(await started.engine.label(items, 1)), expected);
    assert.deepEqual(await shapesOf(started.model), ["20×1", "8×1"]);
  });

  it("runs texts in warmed shapes only, padding masked", async () => {
    await using started = await start("text");
    const warmed = new Set(await shapesOf(started.model));
    const lengths = Array.from({ length: 700 }, (_, at) => 1 + ((at * at * 13) % 512));
    for (const some of [lengths, lengths.slice(0, 3), [512], [1], lengths.slice(100, 120)]) {
      const { items, expected } = texts(some);
      assert.deepEqual(best(await started.engine.label(items, 1)), expected);
    }
    const after = await shapesOf(started.model, started.warmed);
    assert.deepEqual(
      after.filter((shape) => !warmed.has(shape)),
      [],
    );
  });

  it("runs no new shapes while interactive texts keep coming, and shorter batches of bulk texts", async () => {
    // Each batch takes so long that a third of it is already 100 ms.
    await using started = await start("text", { script: { ms: { "cuda:0": 300 } }, options: { budget: 64 * 32 } });
    const warmed = new Set(await shapesOf(started.model));
    const { engine } = started;
    const bulk = texts(new Array<number>(400).fill(30));
    const single = texts([25]);
    const labeled = engine.label(bulk.items, 1);
    const singles: Promise<Outcome[]>[] = [];
    for (let at = 0; at < 4; at++) {
      await untilBatches(engine, 2 * at + 2);
      singles.push(engine.label(single.items, 1, undefined, undefined, "interactive"));
    }
    assert.deepEqual(best(await labeled), bulk.expected);
    for (const outcomes of await Promise.all(singles)) assert.deepEqual(best(outcomes), single.expected);
    const shapes = await shapesOf(started.model, started.warmed);
    assert.deepEqual(
      shapes.filter((shape) => !warmed.has(shape)),
      [],
    );
    assert.ok(shapes.includes("64×32") && shapes.includes("16×32"), shapes.join(" "));
  });

  it("gets no text and no padding beyond the model's positions", async () => {
    await using short = await start("text", { config: { max_position_embeddings: 100 } });
    const lengths = (await shapesOf(short.model)).map((shape) => Number(shape.split("×")[1]));
    assert.deepEqual(
      [...new Set(lengths)].sort((a, b) => a - b),
      [16, 32, 64, 100],
    );
    const { items, expected } = texts([65, 99, 100]);
    assert.deepEqual(best(await short.engine.label(items, 1)), expected);
    const after = await shapesOf(short.model, short.warmed);
    assert.deepEqual(after, ["4×100"]);

    await using long = await start("text", { config: { max_position_embeddings: 3000, model_max_length: 3000 } });
    const longest = texts([2000, 2900]);
    assert.deepEqual(best(await long.engine.label(longest.items, 1)), longest.expected, "these run without a warm-up");
    assert.deepEqual(await shapesOf(long.model, long.warmed), ["1×3000", "1×2048"]);
  });

  it("gets batches when it is free, not round-robin", async () => {
    const ms = { "cuda:0": 100, "cuda:1": 1 } as const;
    await using started = await start("image", { script: { ms }, devices: ["cuda:0", "cuda:1"] });
    const { items, expected } = pictures(64 * 30);
    assert.deepEqual(best(await started.engine.label(items, 1)), expected);
    const runs = runsOf(await callsOf(started.model)).slice(started.warmed);
    const slow = runs.filter(({ device }) => device === "cuda:0").length;
    assert.ok(slow <= 10 && slow < runs.length / 2, `${slow} of ${runs.length} on the slow one`);
  });

  it("may answer in half precision", async () => {
    await using started = await start("text", { script: { half: true } });
    const { items, expected } = texts([3, 20, 100]);
    const outcomes = await started.engine.label(items, SCRIPTED_LABELS);
    assert.deepEqual(best(outcomes), expected);
    for (const outcome of outcomes) {
      assert.ok("labels" in outcome);
      const score = Math.exp(2) / (Math.exp(2) + SCRIPTED_LABELS - 1);
      assert.ok(Math.abs(outcome.labels[0]!.score - score) < 1e-6, "2 and 0 are the same in half precision");
    }
  });
});

describe("A GPU without enough memory", () => {
  it("for the largest shapes never gets these again", async () => {
    await using started = await start("text", { script: { memory: 5000 } });
    const { items, expected } = texts(Array.from({ length: 2000 }, (_, at) => 1 + ((at * 31) % 512)));
    assert.deepEqual(best(await started.engine.label(items, 1)), expected);
    const runs = runsOf(await callsOf(started.model)).slice(started.warmed);
    const most = Math.max(...runs.map(({ shape }) => shape.rows * shape.length));
    assert.ok(most <= 5000, `${most} tokens`);
    assert.ok(runs.length < 1500, `${runs.length} runs: what does fit is used`);
  });

  it("under load: the batch is halved, every answer is right, and that size is not cut again", async () => {
    const script = { memoryLater: { runs: 2, memory: 40 } };
    await using started = await start("image", { script });
    const { items, expected } = pictures(64 * 20);
    assert.deepEqual(best(await started.engine.label(items, 1)), expected);
    const rows = runsOf(await callsOf(started.model))
      .slice(started.warmed)
      .map(({ shape }) => shape.rows);
    // One batch ran, and one was ready.
    assert.ok(rows.filter((each) => each === 64).length <= 2, rows.join());
    assert.deepEqual([...new Set(rows)], [64, 8], "halves are padded to no size that was too large");
    assert.ok(!(await isSettled(started.engine.failed)), "the device has not failed");
  });

  it("for the smallest batch of images gets one image at a time", async () => {
    for (const number of [1, 30]) {
      await using started = await start("image", { script: { memoryLater: { runs: 2, memory: 4 } } });
      const { items, expected } = pictures(number);
      assert.deepEqual(best(await started.engine.label(items, 1)), expected);
      const sizes = runsOf(await callsOf(started.model)).map(({ shape }) => shape.rows);
      assert.equal(sizes.at(-1), 1);
      assert.ok(!(await isSettled(started.engine.failed)), "the device has not failed");
    }
  });

  it("for the model itself: the model is not at fault", async () => {
    await assert.rejects(start("image", { script: { memory: 0 } }), { code: "INFERENCE_FAILED", retryable: true });
  });

  it("stores which batch sizes were too large", async () => {
    const tuningFile = join(root.path, "tuning.json");
    const script = { memoryLater: { runs: 2, memory: 40 } };
    const first = await start("image", { script, options: { tuningFile } });
    // Until the search ends: its results are stored then.
    while (!first.engine.settled) await first.engine.label(pictures(64).items, 1);
    await first.engine.label(pictures(64).items, 1);
    await first.engine.close();
    await using again = await start("image", { options: { tuningFile } });
    await again.engine.label(pictures(640).items, 1);
    assert.deepEqual(await shapesOf(again.model, again.warmed), ["8×1"]);
  });
});

describe("A GPU that is lost", () => {
  it("fails its batches as retryable, and reports that the process must end", async () => {
    await using started = await start("image", { script: { lostAt: 4 } });
    const { items } = pictures(64 * 10);
    await assert.rejects(started.engine.label(items, 1), { code: "INFERENCE_FAILED", retryable: true });
    const error = await started.engine.failed;
    assert.equal(error.code, "INFERENCE_FAILED");
    assert.match(error.message, /failed on a single item.*CUDA failure 700/);
  });
});

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const waiting = Symbol("waiting");
  return (await Promise.race([promise, Promise.resolve(waiting)])) !== waiting;
}
