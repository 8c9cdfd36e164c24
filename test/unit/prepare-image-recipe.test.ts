import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LabelmillError } from "../../src/errors.ts";
import { ImageRecipeSchema, parseImageRecipe } from "../../src/inference/image-recipe.ts";

const NORM = { image_mean: [0.5, 0.4, 0.3], image_std: [0.2, 0.3, 0.4] };
const NORMED = { rescale: 1 / 255, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] };

describe("recipes from preprocessor_config.json", () => {
  test("ResNet-50 as published: crop_pct makes shortest edge 256, crop 224", () => {
    const published = {
      crop_pct: 0.875,
      do_normalize: true,
      do_resize: true,
      feature_extractor_type: "ConvNextFeatureExtractor",
      image_mean: [0.485, 0.456, 0.406],
      image_std: [0.229, 0.224, 0.225],
      resample: 3,
      size: 224,
    };
    const recipe = {
      width: 224,
      height: 224,
      resize: { kind: "shortest-edge", edge: 256 },
      crop: true,
      filter: "bicubic",
      rescale: 1 / 255,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    };
    assert.deepEqual(parseImageRecipe(published), recipe);
    const newer = { ...published, feature_extractor_type: undefined, image_processor_type: "ConvNextImageProcessor" };
    assert.deepEqual(parseImageRecipe({ ...newer, size: { shortest_edge: 224 } }), recipe);
    assert.deepEqual(parseImageRecipe({ ...newer, crop_pct: null }), recipe, "224 / 256 is its default");
    assert.deepEqual(ImageRecipeSchema.parse(recipe), recipe);
  });

  test("ConvNext from 384 on stretches the whole picture", () => {
    const { resize, crop, width, height } = parseImageRecipe({
      image_processor_type: "ConvNextImageProcessor",
      size: { shortest_edge: 384 },
      ...NORM,
    });
    assert.deepEqual(resize, { kind: "exact", width: 384, height: 384 });
    assert.deepEqual([crop, width, height], [false, 384, 384]);
  });

  test("a bare number is a square to ViT, the shortest edge to CLIP", () => {
    assert.deepEqual(parseImageRecipe({ feature_extractor_type: "ViTFeatureExtractor", size: 224, ...NORM }), {
      width: 224,
      height: 224,
      resize: { kind: "exact", width: 224, height: 224 },
      crop: false,
      filter: "bilinear",
      ...NORMED,
    });
    const clip = { image_processor_type: "CLIPImageProcessorFast", size: 224, crop_size: 224, ...NORM };
    assert.deepEqual(parseImageRecipe(clip), {
      width: 224,
      height: 224,
      resize: { kind: "shortest-edge", edge: 224 },
      crop: true,
      filter: "bicubic",
      ...NORMED,
    });
  });

  test("exact sizes, rectangular crops, every filter, no rescaling, no normalising, no resizing", () => {
    const size = { height: 256, width: 300 };
    const base = { image_processor_type: "DeiTImageProcessor", size, crop_size: { height: 100, width: 200 }, ...NORM };
    const recipe = parseImageRecipe(base);
    assert.deepEqual([recipe.width, recipe.height, recipe.crop], [200, 100, true]);
    assert.deepEqual(recipe.resize, { kind: "exact", height: 256, width: 300 });
    const filters = [0, 1, 2, 3].map((resample) => parseImageRecipe({ ...base, resample }).filter);
    assert.deepEqual(filters, ["nearest", "lanczos", "bilinear", "bicubic"]);
    const bare = parseImageRecipe({ ...base, do_rescale: false, do_normalize: false, do_resize: false });
    assert.deepEqual([bare.rescale, bare.mean, bare.std, bare.resize], [1, [0, 0, 0], [1, 1, 1], null]);
    assert.equal(parseImageRecipe({ ...base, rescale_factor: 1 / 127.5 }).rescale, 1 / 127.5);
    const uncropped = parseImageRecipe({ ...base, do_center_crop: false });
    assert.deepEqual([uncropped.width, uncropped.height, uncropped.crop], [300, 256, false]);
  });

  const good = { image_processor_type: "BitImageProcessor", size: { shortest_edge: 256 }, crop_size: 224, ...NORM };
  const refused: [field: string, config: unknown][] = [
    ["the whole", null],
    ["the whole", "text"],
    ["resample", { ...good, resample: 4 }],
    ["resample", { ...good, resample: 99 }],
    ["resample", { ...good, resample: "bicubic" }],
    ["size", { ...good, size: undefined }],
    ["size", { ...good, size: { shortest_edge: 256, longest_edge: 512 } }],
    ["size", { ...good, size: { shortest_edge: 0 } }],
    ["size", { ...good, size: { shortest_edge: 1e9 } }],
    ["size", { ...good, image_processor_type: "ConvNextImageProcessor", size: { height: 224, width: 224 } }],
    ["crop_size", { ...good, do_center_crop: true, crop_size: undefined }],
    ["crop_size", { ...good, crop_size: 257 }],
    ["do_center_crop", { ...good, do_center_crop: false }],
    ["crop_pct", { ...good, crop_pct: 0 }],
    ["image_mean", { ...good, image_mean: undefined }],
    ["image_mean", { ...good, image_mean: [0.5] }],
    ["image_std", { ...good, image_std: [0.5, 0, 0.5] }],
    ["image_std", { ...good, image_std: undefined }],
    ["rescale_factor", { ...good, rescale_factor: -1 }],
    ["do_pad", { ...good, do_pad: true }],
    ["do_flip_channel_order", { ...good, do_flip_channel_order: true }],
    ["image_processor_type", { ...good, image_processor_type: "LevitImageProcessor" }],
    ["image_processor_type", { ...good, image_processor_type: "constructor" }],
  ];
  for (const [field, config] of refused) {
    test(`refused: ${JSON.stringify(config)?.slice(0, 140)}`, () => {
      assert.throws(
        () => parseImageRecipe(config),
        (error) => {
          assert.ok(error instanceof LabelmillError);
          assert.equal(error.code, "MODEL_INVALID");
          assert.match(error.message, new RegExp(`^preprocessor_config\\.json, ${field}\\b`));
          return true;
        },
      );
    });
  }
});
