import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { LabelmillError } from "../../../src/errors.ts";
import { imageCollator } from "../../../src/inference/batching/collate.ts";
import { type ImageRecipe, parseImageRecipe } from "../../../src/inference/model/image-recipe.ts";
import { openOnnxSession } from "../../../src/inference/onnx/session.ts";
import { decodeImage } from "../../../src/inference/preprocess/image/decode-image.ts";
import { packBatch, packedBytes, type Ranked, unpackAnswer } from "../../../src/inference/sessions/batch-buffer.ts";
import type { ModelSession, SessionSetup } from "../../../src/inference/sessions/model-session.ts";
import { writeAnswer } from "../../../src/inference/sessions/scores.ts";
import { SessionHandle } from "../../../src/inference/sessions/session-handle.ts";
import { FLOAT16, type PixelModel, recipeOf, writePixelModel } from "../../helpers/models/pixel-model.ts";

const MODELS = fileURLToPath(new URL("../../../models/", import.meta.url));
const SHARED = fileURLToPath(new URL("../../../../shared/", import.meta.url));
const PHOTOGRAPHS = join(SHARED, "data/imagenet-samples");
const FIXTURES = fileURLToPath(new URL("../../fixtures/images/", import.meta.url));
const noMobilenet =
  existsSync(join(SHARED, "models/mobilenet-v2-imagenet")) && existsSync(PHOTOGRAPHS)
    ? false
    : "MobileNet and its photographs (../shared/models, ../shared/data) are not here";

const TOP = 5;
const SIZE = { width: 7, height: 5 };

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-fused-"));
});
after(() => rm(root, { recursive: true }));

type Logits = { data: Float32Array; dims: readonly number[] };

function setupOf(modelFile: string, recipe: ImageRecipe, labels: number): SessionSetup {
  const input = { kind: "image", recipe } as const;
  return { modelFile, input, labels, device: "cpu", intraOpThreads: 1, warmUp: [] };
}

/** The model as the inference thread runs it: packed pixels, with the preprocessing in the graph. */
async function fusedLogits(session: ModelSession, recipe: ImageRecipe, images: Uint8Array[]): Promise<Logits> {
  const buffer = new ArrayBuffer(packedBytes(images, 1));
  packBatch(images, buffer);
  const collate = imageCollator(session.inputs[0]!.name, recipe);
  const output = await session.run(collate(buffer, images.length, { rows: images.length, length: 1 }), "logits");
  return { data: output.data as Float32Array, dims: output.dims };
}

/**
 * The reference: the unchanged model, with each input value computed here in float64 according to the recipe.
 * @param half rounds the values to float16: the runtime takes no such input from JavaScript, so the model is the float32 variant
 */
async function unfusedLogits(
  session: InferenceSession,
  { width, height, rescale, mean, std }: ImageRecipe,
  images: Uint8Array[],
  half: boolean,
): Promise<Logits> {
  const area = width * height;
  const data = new (half ? Float16Array : Float32Array)(images.length * 3 * area);
  for (const [item, pixels] of images.entries()) {
    for (const [at, pixel] of pixels.entries()) {
      const channel = at % 3;
      const value = (pixel * rescale - mean[channel]!) / std[channel]!;
      data[(item * 3 + channel) * area + Math.floor(at / 3)] = value;
    }
  }
  const feeds = { pixel_values: new Tensor(Float32Array.from(data), [images.length, 3, height, width]) };
  const { logits } = await session.run(feeds);
  return { data: logits!.data as Float32Array, dims: logits!.dims };
}

function best({ data, dims }: Logits): Ranked[][] {
  const [count] = dims as [number, number];
  const buffer = new ArrayBuffer(count * TOP * 16);
  writeAnswer(data, count, TOP, buffer);
  return unpackAnswer(buffer, count, TOP).map((ranked) => ranked!);
}

/** Checks that logits differ by at most 1e-4 of the image's largest one, labels have the same order, and scores differ by at most 1e-5. */
function close(fused: Logits, unfused: Logits): void {
  assert.deepEqual(fused.dims, unfused.dims);
  const [count, labels] = fused.dims as [number, number];
  for (let item = 0; item < count; item++) {
    const [row, expected] = [fused, unfused].map(({ data }) => data.subarray(item * labels, (item + 1) * labels));
    const largest = expected!.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
    assert.ok(largest > 0);
    for (const [at, logit] of expected!.entries())
      assert.ok(Math.abs(row![at]! - logit) <= 1e-4 * largest, `image ${item}: ${row![at]}, not ${logit}`);
  }
  for (const [item, ranked] of best(fused).entries()) {
    for (const [at, { index, score }] of best(unfused)[item]!.entries()) {
      assert.equal(ranked[at]!.index, index, `image ${item}, label ${at}`);
      assert.ok(Math.abs(ranked[at]!.score - score) <= 1e-5, `image ${item}: ${ranked[at]!.score}, not ${score}`);
    }
  }
}

/**
 * Compares the fused and the unfused model for images of extreme values and for the given images, in batches of 16 and of other sizes.
 * @param float32File the same model with a float32 input, if its input is float16
 */
async function compare(file: string, recipe: ImageRecipe, images: Uint8Array[], float32File?: string): Promise<void> {
  const unfused = await InferenceSession.create(float32File ?? file, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  const fused = await openOnnxSession(setupOf(file, recipe, 0));
  try {
    assert.deepEqual(fused.inputs, [{ name: "pixels", type: "uint8" }]);
    const all = [...extremes(recipe), ...images];
    const some = [1, 2, 3, 8].map((size) =>
      Array.from({ length: size }, (_, at) => all[(at * 5 + size) % all.length]!),
    );
    const sixteens = Array.from({ length: Math.ceil(all.length / 16) }, (_, at) => all.slice(at * 16, (at + 1) * 16));
    for (const batch of [...some, ...sixteens]) {
      const expected = await unfusedLogits(unfused, recipe, batch, float32File !== undefined);
      close(await fusedLogits(fused, recipe, batch), expected);
    }
  } finally {
    await Promise.all([unfused.release(), fused.release()]);
  }
}

/** Images that are black, white, have one channel at its maximum, or alternate. */
function extremes({ width, height }: ImageRecipe): Uint8Array[] {
  const of = (value: (at: number) => number) => Uint8Array.from({ length: width * height * 3 }, (_, at) => value(at));
  const channels = [0, 1, 2].map((channel) => of((at) => (at % 3 === channel ? 255 : 0)));
  return [of(() => 0), of(() => 255), ...channels, of((at) => ((at * 7) % 2) * 255)];
}

function noise({ width, height }: ImageRecipe, count: number): Uint8Array[] {
  const of = (item: number) => (_: unknown, at: number) => Math.imul(at + 1, 2654435761 + item * 97) >>> 24;
  return Array.from({ length: count }, (_, item) => Uint8Array.from({ length: width * height * 3 }, of(item)));
}

async function decodeFolder(dir: string, recipe: ImageRecipe, count: number): Promise<Uint8Array[]> {
  const names = (await readdir(dir)).filter((name) => /\.(jpg|png)$/.test(name)).slice(0, count);
  return Promise.all(names.map(async (name) => decodeImage(await readFile(join(dir, name)), recipe)));
}

async function recipeIn(dir: string): Promise<ImageRecipe> {
  return parseImageRecipe(JSON.parse(await readFile(join(dir, "preprocessor_config.json"), "utf8")));
}

async function pixelFile(changes: Partial<PixelModel> = {}): Promise<string> {
  const file = join(await mkdtemp(join(root, "model-")), "onnx", "model.onnx");
  await writePixelModel(file, { ...SIZE, ...changes });
  return file;
}

describe("a fused model gives the answers of the unfused model", () => {
  it("tiny-image", async () => {
    const dir = join(MODELS, "tiny-image");
    const recipe = await recipeIn(dir);
    const images = await decodeFolder(FIXTURES, recipe, 100);
    assert.ok(images.length >= 10);
    await compare(join(dir, "onnx/model.onnx"), recipe, images);
  });

  it("MobileNetV2 on photographs", { skip: noMobilenet }, async () => {
    const dir = join(SHARED, "models/mobilenet-v2-imagenet");
    const recipe = await recipeIn(dir);
    await compare(join(dir, "onnx/model.onnx"), recipe, await decodeFolder(PHOTOGRAPHS, recipe, 26));
  });

  it("models of every opset from 7 on, and models whose weights are inputs", async () => {
    const recipe = recipeOf(SIZE.width, SIZE.height);
    for (const opset of [7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 21])
      await compare(await pixelFile({ opset }), recipe, noise(recipe, 20));
    await compare(await pixelFile({ opset: 8, irVersion: 3, weightsAmongInputs: true }), recipe, noise(recipe, 20));
  });

  it("a model with a float16 input", async () => {
    const recipe = recipeOf(SIZE.width, SIZE.height);
    for (const opset of [7, 13, 21])
      await compare(
        await pixelFile({ opset, elements: FLOAT16 }),
        recipe,
        noise(recipe, 20),
        await pixelFile({ opset }),
      );
  });

  it("a model without a shape, with named sizes, or with names like the inserted ones", async () => {
    const recipe = recipeOf(SIZE.width, SIZE.height);
    for (const dims of [null, ["n", "c", "h", "w"], ["n", 3, "h", "w"]])
      await compare(await pixelFile({ dims }), recipe, noise(recipe, 20));
  });
});

describe("openOnnxSession", () => {
  it("finds external weights in the model's folder", async () => {
    const recipe = recipeOf(SIZE.width, SIZE.height);
    const file = await pixelFile({ externalFile: "model.onnx_data" });
    await compare(file, recipe, noise(recipe, 20));
    await rm(`${file}_data`);
    await assert.rejects(openOnnxSession(setupOf(file, recipe, 5)), /model\.onnx_data/);
  });

  it("refuses a damaged model, and one with another input size than the recipe, naming the file", async () => {
    const recipe = recipeOf(SIZE.width, SIZE.height);
    const damaged = await pixelFile();
    await truncate(damaged, 1000);
    const noise = await pixelFile();
    await writeFile(noise, Buffer.alloc(5000, "not an ONNX model"));
    const cases: [string, ImageRecipe, RegExp][] = [
      [damaged, recipe, /expected an ONNX file, got one that is invalid or damaged/],
      [noise, recipe, /expected an ONNX file, got one that is invalid or damaged/],
      [await pixelFile(), recipeOf(8, 8), /to be \[batch, 3, 8, 8\], as in the recipe, got \[any, 3, 5, 7\]/],
    ];
    for (const [file, itsRecipe, message] of cases) {
      const handle = new SessionHandle(setupOf(file, itsRecipe, 5));
      await assert.rejects(handle.ready, (error) => {
        assert.ok(error instanceof LabelmillError);
        assert.equal(error.code, "MODEL_INVALID");
        assert.match(error.message, message);
        assert.ok(error.message.includes(file), error.message);
        return true;
      });
      await handle.close();
    }
  });
});

describe("imageCollator", () => {
  it("passes packed pixels without a copy, and fills missing rows with an image of the batch", () => {
    const recipe = recipeOf(SIZE.width, SIZE.height);
    const images = noise(recipe, 3);
    const buffer = new ArrayBuffer(packedBytes(images, 1) + 1000);
    packBatch(images, buffer);
    const collate = imageCollator("pixels", recipe);

    const [exact] = collate(buffer, 3, { rows: 3, length: 1 });
    assert.equal(exact!.data.buffer, buffer, "no copy");
    assert.deepEqual(exact, {
      name: "pixels",
      data: Uint8Array.from(images.flatMap((image) => [...image])),
      dims: [3, 5, 7, 3],
    });

    for (const rows of [8, 5]) {
      const [padded] = collate(buffer, 3, { rows, length: 1 });
      const filled = [...images, ...Array.from({ length: rows - 3 }, () => images[0]!)];
      assert.deepEqual(padded!.dims, [rows, 5, 7, 3]);
      assert.deepEqual(padded!.data, Uint8Array.from(filled.flatMap((image) => [...image])));
    }
  });
});
