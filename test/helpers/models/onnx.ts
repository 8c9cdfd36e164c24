import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Tiny ONNX models, encoded by hand (protobuf's wire format, the field numbers of onnx.proto), as folders in the Hugging Face
 * layout. Their logits are `score × weights + bias`. The score of an item is the sum of its token ids or the mean of its normalized
 * pixels, so an answer identifies its item. With weights of 0 the model takes almost no time.
 */
export type TinyModel = {
  /** One label (`L0`, `L1`, …) for each weight. */
  weights: readonly number[];
  bias: readonly number[];
  /**
   * The text model accepts token ids up to `vocabulary` − 1. A larger id makes the whole batch fail, as in a real embedding.
   * Default: 12,000, the size of its tokenizer's vocabulary.
   */
  vocabulary?: number;
  /** An item with this score or more gets NaN for all its logits; its neighbours do not. Default: no item does. */
  nanFrom?: number;
  /** Number of products of two 64 × 64 matrices before the answer of a batch: a thousand take about 10 ms on one core. Default: 0. */
  slow?: number;
  /** Side of an image model's images. Default: 8. */
  side?: number;
};

const TOKENIZER = new URL("../../../models/tiny-sentiment/", import.meta.url);

export const FLOAT = 1;
export const INT64 = 7;
const BOOL = 9;

/** Writes a text model's folder, with the tokenizer of `tiny-sentiment`. */
export async function writeTextModel(dir: string, model: TinyModel): Promise<void> {
  const inputs = ["input_ids", "attention_mask"].map((name) => valueInfo(name, INT64, ["batch", "sequence"]));
  const vocabulary = model.vocabulary ?? 12_000;
  const nodes = [
    // An id out of range fails in Gather, as in an embedding. The table's values are the ids.
    node("Gather", ["table", "input_ids"], ["embedded"], [intAttribute("axis", 0)]),
    node("Cast", ["attention_mask"], ["mask"], [intAttribute("to", FLOAT)]),
    node("Mul", ["embedded", "mask"], ["masked"]),
    node("ReduceSum", ["masked", "axes"], ["score"], [intAttribute("keepdims", 1)]),
  ];
  const table = Float32Array.from({ length: vocabulary }, (_, id) => id);
  const constants = [tensor("table", [vocabulary], table), tensor("axes", [1], BigInt64Array.of(1n))];
  await writeFolder(dir, "TinyForSequenceClassification", model, graph(model, inputs, nodes, constants));
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(new URL(file, TOKENIZER), join(dir, file));
}

/** Writes an image model's folder: images of `side` × `side`, mean 0, std 1, scaled to 0..1. */
export async function writeImageModel(dir: string, model: TinyModel): Promise<void> {
  const side = model.side ?? 8;
  const inputs = [valueInfo("pixel_values", FLOAT, ["batch", 3, side, side])];
  const nodes = [
    node("ReduceMean", ["pixel_values"], ["mean"], [intsAttribute("axes", [1, 2, 3]), intAttribute("keepdims", 0)]),
    node("Unsqueeze", ["mean", "axes"], ["score"]),
  ];
  const constants = [tensor("axes", [1], BigInt64Array.of(1n))];
  await writeFolder(dir, "TinyForImageClassification", model, graph(model, inputs, nodes, constants));
  const recipe = {
    image_processor_type: "BitImageProcessor",
    do_convert_rgb: true,
    do_resize: true,
    size: { shortest_edge: side },
    resample: 3,
    do_center_crop: true,
    crop_size: { height: side, width: side },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0, 0, 0],
    image_std: [1, 1, 1],
  };
  await writeFile(join(dir, "preprocessor_config.json"), JSON.stringify(recipe));
}

async function writeFolder(dir: string, architecture: string, model: TinyModel, onnx: Buffer): Promise<void> {
  const id2label = Object.fromEntries(model.weights.map((_, index) => [index, `L${index}`]));
  await mkdir(join(dir, "onnx"), { recursive: true });
  await writeFile(
    join(dir, "config.json"),
    JSON.stringify({ architectures: [architecture], id2label, pad_token_id: 0 }),
  );
  await writeFile(join(dir, "onnx", "model.onnx"), onnx);
}

/** Adds the nodes from `score` ([batch, 1]) to `logits` ([batch, labels]). */
function graph(model: TinyModel, inputs: Buffer[], nodes: Buffer[], constants: Buffer[]): Buffer {
  const labels = model.weights.length;
  const tail = [
    ...nodes,
    // The logarithm of `nanFrom` − score, times 0: 0, or NaN if the score is `nanFrom` or more.
    node("Sub", ["nanFrom", "score"], ["left"]),
    node("Log", ["left"], ["logarithm"]),
    node("Mul", ["logarithm", "zero"], ["nothingOrNaN"]),
    node("Add", ["score", "nothingOrNaN"], ["seen"]),
    node("Mul", ["seen", "weights"], ["weighted"]),
    node("Add", ["weighted", "bias"], [model.slow ? "quick" : "logits"]),
  ];
  const all = [
    ...constants,
    tensor("weights", [1, labels], Float32Array.from(model.weights)),
    tensor("bias", [1, labels], Float32Array.from(model.bias)),
    tensor("nanFrom", [], Float32Array.of(model.nanFrom ?? 1e12)),
    tensor("zero", [], Float32Array.of(0)),
  ];
  if (model.slow) {
    const side = 64;
    const identity = Float32Array.from({ length: side * side }, (_, at) => (at % (side + 1) === 0 ? 1 : 0));
    all.push(
      tensor("identity", [side, side], identity),
      tensor("trips", [], BigInt64Array.of(BigInt(model.slow))),
      tensor("goOn", [], Uint8Array.of(1), BOOL),
    );
    tail.push(
      // Depends on the input, so that it cannot be computed in advance.
      node("ReduceMax", ["score"], ["highest"], [intAttribute("keepdims", 0)]),
      node("Mul", ["highest", "zero"], ["nothing"]),
      node("Add", ["identity", "nothing"], ["start"]),
      node("Loop", ["trips", "goOn", "start"], ["end"], [graphAttribute("body", loopBody(side))]),
      node("ReduceMax", ["end"], ["one"], [intAttribute("keepdims", 0)]),
      node("Mul", ["one", "quick"], ["logits"]),
    );
  }
  const outputs = [valueInfo("logits", FLOAT, ["batch", labels])];
  const body = graphProto("tiny", tail, all, inputs, outputs);
  // ir_version 8, the graph, opset 13 of the default domain.
  return Buffer.concat([field(1, 8), field(7, body), field(8, Buffer.concat([field(1, ""), field(2, 13)]))]);
}

function loopBody(side: number): Buffer {
  const nodes = [node("Identity", ["goOnIn"], ["goOnOut"]), node("MatMul", ["state", "identity"], ["product"])];
  const inputs = [valueInfo("trip", INT64, []), valueInfo("goOnIn", BOOL, []), valueInfo("state", FLOAT, [side, side])];
  const outputs = [valueInfo("goOnOut", BOOL, []), valueInfo("product", FLOAT, [side, side])];
  return graphProto("body", nodes, [], inputs, outputs);
}

export function graphProto(
  name: string,
  nodes: Buffer[],
  constants: Buffer[],
  inputs: Buffer[],
  outputs: Buffer[],
): Buffer {
  return Buffer.concat([
    ...nodes.map((part) => field(1, part)),
    field(2, name),
    ...constants.map((part) => field(5, part)),
    ...inputs.map((part) => field(11, part)),
    ...outputs.map((part) => field(12, part)),
  ]);
}

export function node(type: string, inputs: string[], outputs: string[], attributes: Buffer[] = []): Buffer {
  return Buffer.concat([
    ...inputs.map((name) => field(1, name)),
    ...outputs.map((name) => field(2, name)),
    field(4, type),
    ...attributes.map((attribute) => field(5, attribute)),
  ]);
}

export function intAttribute(name: string, value: number): Buffer {
  return Buffer.concat([field(1, name), field(3, value), field(20, 2)]);
}

function intsAttribute(name: string, values: number[]): Buffer {
  return Buffer.concat([field(1, name), ...values.map((value) => field(8, value)), field(20, 7)]);
}

function graphAttribute(name: string, value: Buffer): Buffer {
  return Buffer.concat([field(1, name), field(6, value), field(20, 5)]);
}

export function tensor(
  name: string,
  dims: number[],
  data: Float32Array | BigInt64Array | Uint8Array,
  type?: number,
): Buffer {
  const elements = type ?? (data instanceof Float32Array ? FLOAT : INT64);
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([...dims.map((dim) => field(1, dim)), field(2, elements), field(8, name), field(9, raw)]);
}

/** A dimension is a size or a name; null: no shape. */
export function valueInfo(name: string, elements: number, dims: (string | number)[] | null): Buffer {
  const shape = dims?.map((dim) => field(1, typeof dim === "string" ? field(2, dim) : field(1, dim)));
  const type = field(1, Buffer.concat([field(1, elements), ...(shape ? [field(2, Buffer.concat(shape))] : [])]));
  return Buffer.concat([field(1, name), field(2, type)]);
}

/** A field of a message: a varint for a number (not negative), else bytes with their length. */
export function field(number: number, value: number | string | Buffer): Buffer {
  if (typeof value === "number") return Buffer.from([...varint(number << 3), ...varint(value)]);
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(bytes.length)]), bytes]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 128);
  }
}
