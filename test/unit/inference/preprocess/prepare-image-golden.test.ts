import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { describe, type TestContext, test } from "node:test";
import sharp from "sharp";
import { type ImageRecipe, parseImageRecipe } from "../../../../src/inference/model/image-recipe.ts";
import { decodeImage } from "../../../../src/inference/preprocess/image/decode-image.ts";
import { meanDifference } from "../../../helpers/inputs/images.ts";

/** Made with Pillow. Some cases, of our own images, are in the fixtures of the tests. */
const FIXTURES = new URL("../../../fixtures/", import.meta.url);
const SHARED = new URL("../../../../../shared/", import.meta.url);
const GOLDEN = new URL("golden/", SHARED);
const PHOTOGRAPHS = "data/imagenet-samples/";
const gone = ["golden/pixels/", PHOTOGRAPHS].find((folder) => !existsSync(new URL(folder, SHARED)));
const skip = gone === undefined ? false : `../shared/${gone} is not here`;

const PROCESSORS: Record<string, object> = {
  resnet50: {
    image_processor_type: "ConvNextImageProcessor",
    crop_pct: 0.875,
    size: { shortest_edge: 224 },
    resample: 3,
  },
  mobilenet: { image_processor_type: "MobileNetV2ImageProcessor", size: 256, crop_size: 224, resample: 2 },
  tiny: { image_processor_type: "BitImageProcessor", size: { shortest_edge: 32 }, crop_size: 32, resample: 3 },
};

type Case = { input: string; recipe: string; expected: string };

/** The allowed mean of the absolute differences, 0 to 255. CMYK profiles differ, so their colors are approximate. */
function toleranceOf({ input, recipe }: Case): [group: string, limit: number] {
  if (input.includes("cmyk")) return ["CMYK", 30];
  if (/alpha|palette/.test(input)) return ["alpha and palette", 1];
  if (recipe === "tiny") return ["tiny", 2];
  if (/near-256|exact-224|animated|wide|tall|small|one-pixel/.test(input)) return ["enlarged", 1];
  return ["photographs and larger pictures", 1];
}

describe("images as the reference prepares them", () => {
  test("our own images, within their tolerances", (t) => compareAll(t, FIXTURES, FIXTURES, 15));
  test("all images and recipes", { skip }, (t) => compareAll(t, GOLDEN, SHARED, 80));
});

/** The cases of `pixels/cases.jsonl` in `folder`, whose inputs are named relative to `inputs`. */
async function compareAll(t: TestContext, folder: URL, inputs: URL, atLeast: number): Promise<void> {
  const lines = (await readFile(new URL("pixels/cases.jsonl", folder), "utf8")).trim().split("\n");
  assert.ok(lines.length >= atLeast);
  const worst = new Map<string, { difference: number; name: string }>();
  for (const line of lines) {
    const one: Case = JSON.parse(line);
    const name = `${one.input}, ${one.recipe}`;
    const pixels = await decodeImage(await readFile(new URL(one.input, inputs)), recipeOf(one.recipe));
    const expected = await sharp(await readFile(new URL(one.expected, folder)))
      .removeAlpha()
      .raw()
      .toBuffer();
    const difference = meanDifference(pixels, expected);
    const [group, limit] = toleranceOf(one);
    assert.ok(difference <= limit, `${name}: ${difference.toFixed(2)} is over ${limit}`);
    if (difference >= (worst.get(group)?.difference ?? 0)) worst.set(group, { difference, name });
  }
  for (const [group, { difference, name }] of worst) t.diagnostic(`${group}: worst ${difference.toFixed(2)} (${name})`);
}

function recipeOf(name: string): ImageRecipe {
  return parseImageRecipe({ ...PROCESSORS[name], image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] });
}
