import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { ImageRecipe } from "../../../src/inference/model/image-recipe.ts";
import { FLOAT, field, graphProto, intAttribute, node, tensor, valueInfo } from "./onnx.ts";

export const FLOAT16 = 10;

/** A recipe with a crop of `width` × `height` and a different normalization for each channel. */
export function recipeOf(width: number, height: number): ImageRecipe {
  const normalization = { rescale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
  const { rescale, mean, std } = structuredClone(normalization);
  return { width, height, resize: null, crop: true, filter: "bicubic", rescale, mean: [...mean], std: [...std] };
}

/**
 * An image model without a hidden layer. Each logit is a sum over all values of `pixel_values` with different weights, so a wrong or
 * misplaced value changes it. Weights are seeded noise.
 */
export type PixelModel = {
  width: number;
  height: number;
  labels?: number;
  /** ONNX's number of the input's element type. Default: float32. */
  elements?: number;
  opset?: number;
  irVersion?: number;
  /** The input's dimensions; null: no shape. Default: `batch`, 3, height and width. */
  dims?: (string | number)[] | null;
  /** Whether the weights are also an input, as in old models. */
  weightsAmongInputs?: boolean;
  /** The file, in the model's folder, of external weights. Default: the weights are in the model. */
  externalFile?: string;
  /** Name of the value between input and weights. */
  hidden?: string;
  /** Additional inputs. */
  extraInputs?: Buffer[];
  /** Fields to append to the model, the graph and the input. */
  extra?: { model?: Buffer; graph?: Buffer; input?: Buffer };
};

export function pixelWeights({ width, height, labels = 5 }: PixelModel): Float32Array {
  let state = 7;
  return Float32Array.from({ length: 3 * width * height * labels }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

export function pixelModel(model: PixelModel): Buffer {
  const { width, height, labels = 5, elements = FLOAT, opset = 13, irVersion = 8, hidden = "flat", extra = {} } = model;
  const shape = [3 * width * height, labels];
  const dims = model.dims === undefined ? ["batch", 3, height, width] : model.dims;
  const weights = model.externalFile
    ? externalTensor("weights", shape, model.externalFile)
    : tensor("weights", shape, pixelWeights(model));
  const inputs = [
    Buffer.concat([valueInfo("pixel_values", elements, dims), extra.input ?? Buffer.of()]),
    ...(model.weightsAmongInputs ? [valueInfo("weights", FLOAT, shape)] : []),
    ...(model.extraInputs ?? []),
  ];
  const nodes = [
    node("Cast", ["pixel_values"], ["values"], [intAttribute("to", FLOAT)]),
    node("Flatten", ["values"], [hidden], [intAttribute("axis", 1)]),
    node("MatMul", [hidden, "weights"], ["logits"]),
  ];
  const graph = graphProto("linear", nodes, [weights], inputs, [valueInfo("logits", FLOAT, ["batch", labels])]);
  return Buffer.concat([
    field(1, irVersion),
    field(7, Buffer.concat([graph, extra.graph ?? Buffer.of()])),
    field(8, Buffer.concat([field(1, ""), field(2, opset)])),
    extra.model ?? Buffer.of(),
  ]);
}

/** Writes the model's file, and the file of its weights if they are external. */
export async function writePixelModel(file: string, model: PixelModel): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, pixelModel(model));
  if (model.externalFile) await writeFile(`${dirname(file)}/${model.externalFile}`, pixelWeights(model));
}

/** A float32 tensor with its data in a file in the model's folder. */
export function externalTensor(name: string, dims: number[], file: string): Buffer {
  const place = field(13, Buffer.concat([field(1, "location"), field(2, file)]));
  return Buffer.concat([...dims.map((dim) => field(1, dim)), field(2, FLOAT), field(8, name), place, field(14, 1)]);
}
