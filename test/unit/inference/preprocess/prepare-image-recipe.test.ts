import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LabelmillError } from "../../../../src/errors.ts";
import { IMAGE_FIELDS } from "../../../../src/inference/model/image-fields.ts";
import {
  ImageRecipeSchema,
  parseImageRecipe,
  READ_IMAGE_FIELDS,
} from "../../../../src/inference/model/image-recipe.ts";

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

  test("ConvNext from 384 on stretches the whole image", () => {
    const { resize, crop, width, height } = parseImageRecipe({
      image_processor_type: "ConvNextImageProcessor",
      size: { shortest_edge: 384 },
      ...NORM,
    });
    assert.deepEqual(resize, { kind: "exact", width: 384, height: 384 });
    assert.deepEqual([crop, width, height], [false, 384, 384]);
  });

  test("a number is a square for ViT, the shortest edge for CLIP", () => {
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

  test("exact sizes, rectangular crops, every filter, no rescaling, no normalization, no resizing", () => {
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

  test("a crop size applies only with a center crop", () => {
    const left = {
      image_processor_type: "ViTImageProcessor",
      size: { height: 240, width: 240 },
      crop_size: 224,
      ...NORM,
    };
    const whole = { kind: "exact", width: 240, height: 240 };
    for (const config of [left, { ...left, do_center_crop: false }, { ...left, do_center_crop: null }]) {
      const { width, height, resize, crop } = parseImageRecipe(config);
      assert.deepEqual([width, height, resize, crop], [240, 240, whole, false]);
    }
  });

  test("a crop that only newer versions of ViT and Siglip make is accepted if it changes nothing", () => {
    for (const name of ["ViT", "Siglip"]) {
      const config = { image_processor_type: `${name}ImageProcessor`, do_center_crop: true, crop_size: 224, ...NORM };
      const same = parseImageRecipe({ ...config, size: { height: 224, width: 224 } });
      assert.deepEqual([same.width, same.height], [224, 224]);
      // Older versions fail on this size, so only one answer exists.
      const { width, resize, crop } = parseImageRecipe({ ...config, size: { shortest_edge: 240 } });
      assert.deepEqual([width, resize, crop], [224, { kind: "shortest-edge", edge: 240 }, true]);
    }
    const { width, crop } = parseImageRecipe(
      { size: { height: 240, width: 240 }, do_center_crop: true, crop_size: 224, ...NORM },
      { modelType: "unheard-of" },
    );
    assert.deepEqual([width, crop], [224, true], "no class that could pass over it");
  });

  test("absent and null values are those of the class", () => {
    const absent = {
      size: null,
      crop_size: null,
      image_mean: null,
      image_std: null,
      rescale_factor: null,
      resample: null,
    };
    const of = (type: string) => parseImageRecipe({ image_processor_type: type, ...absent, do_normalize: null });
    const halves = { rescale: 1 / 255, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
    const exact = (side: number) => ({ kind: "exact", width: side, height: side });
    const cropped = { width: 224, height: 224, crop: true };
    assert.deepEqual(of("ViTImageProcessor"), {
      ...{ width: 224, height: 224, resize: exact(224), crop: false, filter: "bilinear" },
      ...halves,
    });
    assert.deepEqual(of("DeiTImageProcessor"), { ...cropped, resize: exact(256), filter: "bicubic", ...halves });
    assert.deepEqual(of("MobileNetV2ImageProcessor"), {
      ...cropped,
      ...{ resize: { kind: "shortest-edge", edge: 256 }, filter: "bilinear" },
      ...halves,
    });
    const clip = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };
    for (const type of ["BitImageProcessor", "CLIPImageProcessor"])
      assert.deepEqual(of(type), {
        ...{ ...cropped, resize: { kind: "shortest-edge", edge: 224 }, filter: "bicubic", rescale: 1 / 255 },
        ...clip,
      });
    assert.deepEqual(of("SiglipImageProcessor").resize, exact(224));
    assert.deepEqual(of("ConvNextImageProcessor").resize, exact(384));
  });

  test("a file without a class uses that of its model", () => {
    const bare = { size: 224, ...NORM };
    assert.deepEqual(parseImageRecipe(bare, { modelType: "swin" }).resize, { kind: "exact", width: 224, height: 224 });
    const resnet = parseImageRecipe(bare, { modelType: "resnet" });
    assert.deepEqual([resnet.resize, resnet.crop], [{ kind: "shortest-edge", edge: 256 }, true]);
    assert.equal(parseImageRecipe(bare, { processorType: "BitImageProcessor" }).crop, true);
    const message = /preprocessor_config\.json, image_processor_type: .*got none, so Levit for the model_type levit$/;
    assert.throws(() => parseImageRecipe(bare, { modelType: "levit" }), { code: "MODEL_INVALID", message });
    assert.deepEqual(parseImageRecipe(bare, { modelType: "unheard-of" }).crop, false);
  });

  test("sizes as lists and one number for all channels", () => {
    const { resize, mean, std } = parseImageRecipe({
      ...{ image_processor_type: "ViTImageProcessor", size: [200, 300], image_mean: 0.25, image_std: 0.5 },
    });
    assert.deepEqual(resize, { kind: "exact", height: 200, width: 300 });
    assert.deepEqual([mean, std], [Array(3).fill(0.25), Array(3).fill(0.5)]);
    const edge = parseImageRecipe({ image_processor_type: "DeiTImageProcessor", size: 256, default_to_square: false });
    assert.deepEqual(edge.resize, { kind: "shortest-edge", edge: 256 });
  });

  test("the table of fields and the reader have the same fields", () => {
    const named = IMAGE_FIELDS.flatMap(({ effect, fields }) => (effect === "honoured" ? fields : []));
    assert.deepEqual([...named].sort(), [...READ_IMAGE_FIELDS].sort());
  });

  const good = { image_processor_type: "BitImageProcessor", size: { shortest_edge: 256 }, crop_size: 224, ...NORM };
  const refused: [field: string, config: unknown][] = [
    ["the file", null],
    ["the file", "text"],
    ["resample", { ...good, resample: 4 }],
    ["resample", { ...good, resample: 99 }],
    ["resample", { ...good, resample: "bicubic" }],
    ["size", { ...good, size: { shortest_edge: 256, longest_edge: 512 } }],
    ["size", { ...good, size: { shortest_edge: 0 } }],
    ["size", { ...good, size: { longest_edge: 256 } }],
    ["size", { ...good, size: { max_height: 256, max_width: 256 } }],
    ["size", { ...good, size: [256] }],
    ["size", { size: undefined, ...NORM }],
    ["crop_size", { ...good, crop_size: { shortest_edge: 224 } }],
    ["image_mean", { ...good, image_mean: [0.5, null, 0.5] }],
    ["image_mean", { size: { height: 8, width: 8 } }],
    ["do_center_crop", { ...good, image_processor_type: "BeitImageProcessor" }],
    ["do_center_crop", { image_processor_type: "SiglipImageProcessor", size: 224 }],
    [
      "do_center_crop",
      { image_processor_type: "ConvNextImageProcessor", do_center_crop: true, size: 384, crop_size: 224 },
    ],
    ...["ViTImageProcessor", "ViTFeatureExtractor", "SiglipImageProcessor"].map((type): [string, unknown] => [
      "do_center_crop",
      { image_processor_type: type, do_center_crop: true, size: { height: 240, width: 240 }, crop_size: 224 },
    ]),
    ["rescale_offset", { ...good, rescale_offset: true }],
    ["offset", { ...good, offset: true }],
    ["do_color_quantize", { ...good, do_color_quantize: true }],
    ["do_thumbnail", { ...good, do_thumbnail: 1 }],
    [
      "auto_map.AutoImageProcessor",
      { ...good, image_processor_type: null, auto_map: { AutoImageProcessor: "own.Own" } },
    ],
    ["size", { ...good, size: { shortest_edge: 1e9 } }],
    ["size", { ...good, image_processor_type: "ConvNextImageProcessor", size: { height: 224, width: 224 } }],
    ["crop_size", { ...good, crop_size: 257 }],
    ["do_center_crop", { ...good, do_center_crop: false }],
    ["crop_pct", { ...good, crop_pct: 0 }],
    ["image_mean", { ...good, image_mean: [0.5] }],
    ["image_std", { ...good, image_std: [0.5, 0, 0.5] }],
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
