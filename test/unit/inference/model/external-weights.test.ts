import assert from "node:assert/strict";
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { externalPaths } from "../../../../src/inference/model/external-weights.ts";
import { loadModel } from "../../../../src/inference/model/model.ts";
import { addModel } from "../../../../src/models/add.ts";
import { writeImageModel } from "../../../helpers/models/onnx.ts";
import { type PixelModel, pixelModel, writePixelModel } from "../../../helpers/models/pixel-model.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

const SIDE = 4;
const PIXELS: PixelModel = { width: SIDE, height: SIDE, labels: 2 };

/** A model's folder whose ONNX file has its weights in `location`, relative to itself. */
async function writeModel(dir: string, location: string): Promise<void> {
  await writeImageModel(dir, { weights: [1, -1], bias: [0, 0], side: SIDE });
  await writePixelModel(join(dir, "onnx/model.onnx"), { ...PIXELS, externalFile: location });
}

describe("external weights", () => {
  test("are part of the digest: changed or renamed files make another model", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "model");
    await writeModel(dir, "weights.bin");
    const first = await loadModel(dir);
    assert.deepEqual(
      first.files.map(({ path }) => path),
      ["config.json", "onnx/model.onnx", "onnx/weights.bin", "preprocessor_config.json"],
    );
    const weights = join(dir, "onnx/weights.bin");
    const bytes = await readFile(weights);
    bytes[5]! ^= 1;
    await writeFile(weights, bytes);
    const changed = await loadModel(dir);
    assert.notEqual(changed.digest, first.digest);

    await writeFile(join(dir, "onnx/model.onnx"), pixelModel({ ...PIXELS, externalFile: "renamed.bin" }));
    await rename(weights, join(dir, "onnx/renamed.bin"));
    const renamed = await loadModel(dir);
    assert.ok(renamed.files.some(({ path }) => path === "onnx/renamed.bin"));
    assert.notEqual(renamed.digest, changed.digest);
  });

  test("are pinned by `models add`", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "model");
    const file = join(folder.path, "catalog.json");
    await writeModel(dir, "weights.bin");
    const [model] = await addModel({ dir, id: "mine", file });
    const { models } = JSON.parse(await readFile(file, "utf8"));
    assert.deepEqual(models[0].pins.fp32.files, model!.files);
    assert.ok(model!.files.some(({ path }) => path === "onnx/weights.bin"));
  });

  test("may be in a subfolder, with any name, and beside an ONNX file in the model's folder itself", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "model");
    await writeModel(dir, "first.bin");
    await mkdir(join(dir, "parts"));
    await cp(join(dir, "onnx/first.bin"), join(dir, "parts/onnx::MatMul 12.Gewicht-ü"));
    await rm(join(dir, "onnx"), { recursive: true });
    const onnx = pixelModel({ ...PIXELS, externalFile: "./parts/onnx::MatMul 12.Gewicht-ü" });
    await writeFile(join(dir, "model.onnx"), onnx);
    const { files } = await loadModel(dir);
    assert.deepEqual(files[2]!.path, "parts/onnx::MatMul 12.Gewicht-ü");
  });

  for (const location of [
    "/etc/passwd",
    "../outside.bin",
    "a/../../outside.bin",
    "a\\b",
    "",
    ".",
    "a/",
    "a\nb",
    "x".repeat(256),
  ])
    test(`at the location ${JSON.stringify(location).slice(0, 30)} are refused`, async () => {
      await using folder = await temporaryFolder();
      const dir = join(folder.path, "model");
      await writeModel(dir, "inside.bin");
      await writeFile(join(dir, "outside.bin"), "there");
      await writeFile(join(dir, "onnx/model.onnx"), pixelModel({ ...PIXELS, externalFile: location }));
      // The helper writes no external file for an empty name.
      if (location === "")
        assert.throws(() => externalPaths("onnx/model.onnx", [location]), /expected a file in its folder/);
      else
        await assert.rejects(loadModel(dir), {
          code: "MODEL_INVALID",
          message: /onnx\/model\.onnx: location of weights: expected a file in its folder or below, got /,
        });
    });

  test("that are missing, not a file, or behind a link out of the folder are refused", async () => {
    await using folder = await temporaryFolder();
    const dir = join(folder.path, "model");
    const weights = join(dir, "onnx/weights.bin");
    await writeModel(dir, "weights.bin");
    const refused = (message: RegExp) => assert.rejects(loadModel(dir), { code: "MODEL_INVALID", message });

    await rename(weights, join(folder.path, "outside.bin"));
    await refused(/onnx\/weights\.bin: expected this file of weights, which the ONNX file names, but it is missing/);
    await symlink(join(folder.path, "outside.bin"), weights);
    await refused(/onnx\/weights\.bin: expected a file in the model's folder, got a link out of it/);
    await rm(weights);
    await mkdir(weights);
    await refused(/onnx\/weights\.bin: expected a regular file/);
    await rm(weights, { recursive: true });

    await rename(join(folder.path, "outside.bin"), join(dir, "shared.bin"));
    await symlink("../shared.bin", weights);
    assert.ok(
      (await loadModel(dir)).files.some(({ path }) => path === "onnx/weights.bin"),
      "a link within is fine",
    );
  });
});
