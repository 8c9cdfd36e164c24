import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFile, cp, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../../../src/errors.ts";
import { parseImageRecipe } from "../../../../src/inference/model/image-recipe.ts";
import { dtypesIn, loadModel } from "../../../../src/inference/model/model.ts";
import { writeImageModel, writeTextModel } from "../../../helpers/models/onnx.ts";

const BUILT_IN = fileURLToPath(new URL("../../../../models/", import.meta.url));
const DIGESTS = [
  ["tiny-image", "da0061e11cd41eef776d6a15339a319222ce4abf3e3d3cd452c7538448c26f5d"],
  ["tiny-sentiment", "083c9e986cae6f3cca436401b1d3398ab7c314e20e35836b66747c6b50fd12eb"],
] as const;
const TINY = { weights: [1, -1], bias: [0, 0] };

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-model-"));
});
after(() => rm(root, { recursive: true }));

async function textFolder(change?: (config: Record<string, unknown>) => void): Promise<string> {
  const dir = await mkdtemp(join(root, "text-"));
  await writeTextModel(dir, TINY);
  if (change) {
    const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8"));
    change(config);
    await writeFile(join(dir, "config.json"), JSON.stringify(config));
  }
  return dir;
}

async function imageFolder(): Promise<string> {
  const dir = await mkdtemp(join(root, "image-"));
  await writeImageModel(dir, TINY);
  return dir;
}

async function rejects(dir: string, ...words: string[]) {
  await assert.rejects(loadModel(dir), (error: unknown) => {
    assert.ok(error instanceof LabelmillError);
    assert.equal(error.code, "MODEL_INVALID");
    for (const word of [dir, ...words]) assert.ok(error.message.includes(word), `${error.message}: names ${word}`);
    return true;
  });
}

it("refuses a FIFO or a device instead of a file, without waiting for it", async () => {
  for (const path of ["config.json", "tokenizer.json", "onnx/model.onnx"]) {
    const dir = await textFolder();
    await rm(join(dir, path));
    assert.equal(spawnSync("mkfifo", [join(dir, path)]).status, 0);
    await rejects(dir, path, "a pipe, socket or device");
    await rm(join(dir, path));
    await symlink("/dev/zero", join(dir, path));
    await rejects(dir, path, "a pipe, socket or device");
  }
});

describe("loadModel", () => {
  it("reads the built-in text model", async () => {
    const model = await loadModel(join(BUILT_IN, "tiny-sentiment"));
    assert.equal(model.id, "tiny-sentiment");
    assert.equal(model.task, "text-classification");
    assert.deepEqual(model.labels, ["NEGATIVE", "POSITIVE"]);
    assert.deepEqual([model.revision, model.dtype, model.padId, model.recipe], ["local", "fp32", 0, undefined]);
    assert.equal(model.modelFile, join(BUILT_IN, "tiny-sentiment/onnx/model.onnx"));
    assert.match(model.digest, /^[0-9a-f]{64}$/);
    const paths = model.files.map((file) => file.path);
    assert.deepEqual(paths, ["config.json", "onnx/model.onnx", "tokenizer.json", "tokenizer_config.json"]);
    for (const file of model.files) {
      const bytes = await readFile(join(model.dir, file.path));
      assert.equal(file.size, bytes.length);
      assert.equal(file.sha256, createHash("sha256").update(bytes).digest("hex"));
    }
  });

  it("reads the built-in image model with its recipe", async () => {
    const model = await loadModel(join(BUILT_IN, "tiny-image"));
    assert.equal(model.task, "image-classification");
    assert.equal(model.labels.length, 10);
    assert.deepEqual([model.labels[0], model.labels[9]], ["airplane", "truck"]);
    assert.deepEqual([model.recipe?.width, model.recipe?.height, model.recipe?.filter], [32, 32, "bicubic"]);
  });

  it("accepts any path of a folder, and uses its last name as the id", async () => {
    const dir = await textFolder();
    const model = await loadModel(`${dir}/`);
    assert.equal(model.id, basename(dir));
    const link = join(root, "link");
    await symlink(dir, link);
    assert.equal((await loadModel(link)).digest, model.digest);
  });

  it("gives the same digest to equal folders and another to any difference", async () => {
    const dir = await textFolder();
    const copy = join(root, "copy");
    await cp(dir, copy, { recursive: true });
    await writeFile(join(copy, "README.md"), "not part of the model");
    const { digest } = await loadModel(dir);
    assert.equal((await loadModel(copy)).digest, digest);
    await appendFile(join(copy, "tokenizer_config.json"), "\n");
    const changed = (await loadModel(copy)).digest;
    assert.notEqual(changed, digest);
    await writeFile(join(copy, "onnx/model.onnx_data"), "weights");
    const external = await loadModel(copy);
    assert.ok(external.files.some((file) => file.path === "onnx/model.onnx_data"));
    assert.notEqual(external.digest, changed);
  });

  it("names missing labels as transformers does, and converts numbers to text", async () => {
    const labelsOf = async (change: (config: Record<string, unknown>) => void) =>
      (await loadModel(await textFolder(change))).labels;
    assert.deepEqual(await labelsOf((config) => delete config.id2label), ["LABEL_0", "LABEL_1"]);
    assert.deepEqual(await labelsOf((config) => (config.id2label = null)), ["LABEL_0", "LABEL_1"]);
    const counted = (config: Record<string, unknown>) => Object.assign(config, { id2label: null, num_labels: 3 });
    assert.deepEqual(await labelsOf(counted), ["LABEL_0", "LABEL_1", "LABEL_2"]);
    assert.deepEqual(await labelsOf((config) => (config.id2label = { 0: 1, 1: -2.5 })), ["1", "-2.5"]);

    const three = await mkdtemp(join(root, "three-"));
    await writeTextModel(three, { weights: [1, 0, -1], bias: [0, 0, 0] });
    await writeFile(join(three, "config.json"), JSON.stringify({ architectures: ["TinyForSequenceClassification"] }));
    assert.deepEqual((await loadModel(three)).labels, ["LABEL_0", "LABEL_1", "LABEL_2"], "as many as the ONNX file's");
  });

  it("accepts an explicit softmax", async () => {
    const said = {
      problem_type: "single_label_classification",
      function_to_apply: "softmax",
      task_specific_params: { "text-classification": { function_to_apply: "softmax", max_length: 128 }, summary: {} },
    };
    assert.equal((await loadModel(await textFolder((config) => Object.assign(config, said)))).labels.length, 2);
  });

  it("refuses an unsupported tokenizer before anything runs", async () => {
    const dir = await textFolder();
    await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify({ truncation_side: "left" }));
    await rejects(dir, "tokenizer_config.json", "truncation_side", "left");
  });

  it("treats null as absent in every file", async () => {
    const nulls = { problem_type: null, pad_token_id: null, max_position_embeddings: null, architectures: null };
    const dir = await textFolder((config) => Object.assign(config, nulls));
    const tokenizerConfig = { model_max_length: null, truncation_side: null, padding_side: null, do_lower_case: null };
    await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify(tokenizerConfig));
    const model = await loadModel(dir);
    assert.deepEqual([model.task, model.padId, model.labels], ["text-classification", 0, ["L0", "L1"]]);

    const image = await imageFolder();
    const recipe = JSON.parse(await readFile(join(image, "preprocessor_config.json"), "utf8"));
    const { rescale_factor, resample, do_rescale, do_resize, do_center_crop, ...rest } = recipe;
    const absent = { rescale_factor: null, resample: null, do_rescale: null, do_resize: null, do_center_crop: null };
    const size = { shortest_edge: 8, longest_edge: null, height: null, width: null };
    const written = { ...rest, ...absent, size, do_pad: null, image_seq_length: null };
    await writeFile(join(image, "preprocessor_config.json"), JSON.stringify(written));
    assert.deepEqual((await loadModel(image)).recipe, { ...parseImageRecipe(recipe) });
  });

  it("uses the recipe of processor_config.json if there is no other, and refuses two that differ", async () => {
    const dir = await imageFolder();
    const own = join(dir, "preprocessor_config.json");
    const recipe = JSON.parse(await readFile(own, "utf8"));
    const nested = (change: object) =>
      writeFile(join(dir, "processor_config.json"), JSON.stringify({ image_processor: { ...recipe, ...change } }));
    await nested({});
    const both = await loadModel(dir);
    assert.ok(
      both.files.every(({ path }) => path !== "processor_config.json"),
      "the same recipe: nothing changes",
    );
    await nested({ resample: 2 });
    await rejects(dir, "processor_config.json", "image_processor");
    await rm(own);
    const { files, recipe: taken } = await loadModel(dir);
    assert.deepEqual(taken, { ...both.recipe, filter: "bilinear" });
    assert.ok(files.some(({ path }) => path === "processor_config.json"));
    await nested({ do_pad: true });
    await rejects(dir, "processor_config.json, image_processor, do_pad");
  });

  it("determines the task from the files if the architecture is missing", async () => {
    const dir = await textFolder((config) => delete config.architectures);
    assert.equal((await loadModel(dir)).task, "text-classification");
    await cp(join(await imageFolder(), "preprocessor_config.json"), join(dir, "preprocessor_config.json"));
    await rejects(dir, "architectures", "text-classification and image-classification");
    await rm(join(dir, "tokenizer.json"));
    assert.equal((await loadModel(dir)).task, "image-classification");
    await rm(join(dir, "preprocessor_config.json"));
    await rejects(dir, "architectures", "none of them");
  });

  it("recognizes an image model by image_processor in processor_config.json", async () => {
    const dir = await imageFolder();
    const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8"));
    await writeFile(join(dir, "config.json"), JSON.stringify({ ...config, architectures: undefined }));
    const image_processor = JSON.parse(await readFile(join(dir, "preprocessor_config.json"), "utf8"));
    await rm(join(dir, "preprocessor_config.json"));
    const processor = join(dir, "processor_config.json");
    await writeFile(processor, JSON.stringify({ image_processor }));
    assert.equal((await loadModel(dir)).task, "image-classification");

    await cp(join(await textFolder(), "tokenizer.json"), join(dir, "tokenizer.json"));
    await rejects(dir, "architectures", "text-classification and image-classification");
    await writeFile(processor, JSON.stringify({ processor_class: "CLIPProcessor" }));
    await rejects(dir, "tokenizer_config.json", "missing");
  });

  it("reports a missing folder", async () => {
    await assert.rejects(loadModel(join(root, "none")), {
      code: "MODEL_NOT_FOUND",
      message: /found nothing at .*none$/,
    });
  });

  it("uses the weights of the requested precision, and each precision has its own digest", async () => {
    const dir = await textFolder();
    const fp32 = await loadModel(dir, { id: "named", revision: "abc" });
    assert.deepEqual([fp32.id, fp32.revision, fp32.dtype], ["named", "abc", "fp32"]);
    await cp(join(dir, "onnx/model.onnx"), join(dir, "onnx/model_quantized.onnx"));
    assert.deepEqual(await dtypesIn(dir), ["fp32", "q8"]);
    assert.equal((await loadModel(dir)).digest, fp32.digest, "another precision beside it changes nothing");
    const q8 = await loadModel(dir, { dtype: "q8" });
    assert.equal(q8.modelFile, join(dir, "onnx/model_quantized.onnx"));
    assert.deepEqual(
      q8.files.map(({ path }) => path),
      ["config.json", "onnx/model_quantized.onnx", "tokenizer.json", "tokenizer_config.json"],
    );
    assert.notEqual(q8.digest, fp32.digest, "the same bytes at another precision are another model");
    await assert.rejects(loadModel(dir, { dtype: "fp16" }), {
      code: "MODEL_INVALID",
      message: /onnx\/model_fp16\.onnx: .*missing: it has fp32, q8, so use --dtype fp32$/,
    });
  });

  it("finds weights in the folder itself, with their external data", async () => {
    const dir = await textFolder();
    await rename(join(dir, "onnx/model.onnx"), join(dir, "model.onnx"));
    await writeFile(join(dir, "model.onnx_data"), "weights");
    const model = await loadModel(dir);
    assert.equal(model.modelFile, join(dir, "model.onnx"));
    assert.deepEqual(
      model.files.map(({ path }) => path),
      ["config.json", "model.onnx", "model.onnx_data", "tokenizer.json", "tokenizer_config.json"],
    );
  });

  it("gives the built-in models the digests that runs are pinned to", async () => {
    for (const [name, digest] of DIGESTS) assert.equal((await loadModel(join(BUILT_IN, name))).digest, digest, name);
  });

  it("names a file that is missing, empty or not JSON", async () => {
    for (const file of ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"]) {
      const dir = await textFolder();
      await rm(join(dir, file));
      await rejects(dir, file, "missing");
      await writeFile(join(dir, file), "");
      await rejects(dir, file);
    }
    const image = await imageFolder();
    await rm(join(image, "preprocessor_config.json"));
    await rejects(image, "preprocessor_config.json", "missing");
    await writeFile(join(image, "preprocessor_config.json"), '{"size": "large"}');
    await rejects(image, "preprocessor_config.json", "size");
    const text = await textFolder();
    await writeFile(join(text, "config.json"), "[1, 2]");
    await rejects(text, "config.json", "object");
    await rejects(join(text, "config.json"), "got a file");
  });

  for (const [what, change, ...words] of [
    ["labels with a missing index", (c) => (c.id2label = { 0: "A", 2: "B" }), "id2label", "0 to 1", "nothing at 1"],
    ["a label that is not text", (c) => (c.id2label = { 0: "A", 1: true }), "id2label", "true"],
    ["a label that is null", (c) => (c.id2label = { 0: "A", 1: null, 2: "C" }), "id2label", "nothing at 1"],
    ["labels with one index written twice", (c) => (c.id2label = { 0: "A", "00": "B" }), "id2label", "nothing at 1"],
    ["an empty label", (c) => (c.id2label = { 0: "A", 1: "" }), "id2label", '""'],
    ["one label", (c) => (c.id2label = { 0: "A" }), "id2label", "at least 2"],
    ["labels in a list", (c) => (c.id2label = ["A", "B"]), "id2label", '["A","B"]'],
    ["num_labels of 1", (c) => Object.assign(c, { id2label: null, num_labels: 1 }), "num_labels", "at least 2"],
    [
      "num_labels that is not a number",
      (c) => Object.assign(c, { id2label: null, num_labels: "2" }),
      "num_labels",
      '"2"',
    ],
    ["another task", (c) => (c.architectures = ["BertForMaskedLM"]), "architectures", "BertForMaskedLM"],
    ["a multi-label model", (c) => (c.problem_type = "multi_label_classification"), "problem_type", "multi_label"],
    ["another function", (c) => (c.function_to_apply = "sigmoid"), "function_to_apply", "softmax", "sigmoid"],
    ["no function", (c) => (c.function_to_apply = "none"), "function_to_apply", "none"],
    [
      "another function of its task",
      (c) => (c.task_specific_params = { "text-classification": { function_to_apply: "sigmoid" } }),
      ...["task_specific_params.text-classification", "sigmoid"],
    ],
    [
      "labels of its task",
      (c) => (c.task_specific_params = { "text-classification": { id2label: { 0: "X" } } }),
      "task_specific_params.text-classification",
    ],
    ["a padding token that is not an id", (c) => (c.pad_token_id = "[PAD]"), "pad_token_id", "[PAD]"],
  ] as [string, (config: Record<string, unknown>) => void, ...string[]][]) {
    it(`refuses ${what}`, async () => rejects(await textFolder(change), "config.json", ...words));
  }
});
