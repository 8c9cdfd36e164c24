import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FLOAT, field, graphProto, INT64, intAttribute, node, tensor, valueInfo } from "./onnx.ts";

/**
 * Tiny text models, as folders in the Hugging Face layout with the tokenizer of `tiny-sentiment`. Their answer is the mean of their
 * tokens' values, so a mistake in the padding changes the scores.
 */

const TOKENIZER = new URL("../../../models/tiny-sentiment/", import.meta.url);
const VOCABULARY = 12_000;
/** The first and the last token of each text with the tokenizer of `tiny-sentiment`. */
export const FIRST_TOKEN = 2;
export const LAST_TOKEN = 3;
const PAD_TOKEN = 0;
const WIDTH = 4;
const INT32 = 6;
const INT8 = 3;

/**
 * A dynamically quantized model, as `quantize_dynamic` of onnxruntime creates it, with one scale for the activations of the whole batch,
 * including padding. The first and the last token of each text have the extreme values, so texts of one length get exactly the same
 * scores in any batch. The padding token's value is 500 times larger, so a single one makes the scores of its batch almost
 * meaningless. `onnx/model.onnx` has the same weights: as fp32, texts are padded.
 */
export async function writeQuantizedTextModel(dir: string): Promise<void> {
  const nodes = [
    node("Gather", ["words", "input_ids"], ["embedded"], [intAttribute("axis", 0)]),
    node("DynamicQuantizeLinear", ["embedded"], ["quantized", "scale", "zero"]),
    node("MatMulInteger", ["quantized", "weights", "zero"], ["products"]),
    node("Cast", ["products"], ["whole"], [intAttribute("to", FLOAT)]),
    node("Mul", ["scale", "weightScale"], ["both"]),
    node("Mul", ["whole", "both"], ["values"]),
    ...meanOver("attention_mask", "values"),
  ];
  const words = Float32Array.from({ length: VOCABULARY * WIDTH }, (_, at) => {
    const token = Math.floor(at / WIDTH);
    if (token === PAD_TOKEN) return 500;
    if (token === FIRST_TOKEN) return 1;
    return token === LAST_TOKEN ? -1 : Math.sin(at * at);
  });
  // At most 64: two products of a larger weight and a uint8 overflow on CPUs that sum in 16 bits.
  const weights = Uint8Array.from(Int8Array.of(60, -60, -45, 50, 30, -25, 55, -64), (weight) => weight & 255);
  const constants = [
    tensor("words", [VOCABULARY, WIDTH], words),
    tensor("weights", [WIDTH, 2], weights, INT8),
    tensor("weightScale", [], Float32Array.of(0.1)),
  ];
  const onnx = textModel(["input_ids", "attention_mask"], nodes, constants);
  await writeFolder(dir, { architectures: ["BertForSequenceClassification"], pad_token_id: PAD_TOKEN }, onnx);
  await writeFile(join(dir, "onnx", "model_quantized.onnx"), onnx);
}

/**
 * A model like RoBERTa: its padding token is 1, and positions count from 2 over tokens that are not padding. If its inputs have no
 * `attention_mask`, it derives the mask from the padding token.
 */
export async function writeRobertaModel(dir: string, { attentionMask }: { attentionMask: boolean }): Promise<void> {
  const nodes = [
    node("Equal", ["input_ids", "one"], ["isPadding"]),
    node("Not", ["isPadding"], ["isText"]),
    node("Cast", ["isText"], ["text"], [intAttribute("to", INT32)]),
    node("CumSum", ["text", "axis"], ["count"]),
    node("Mul", ["count", "text"], ["counted"]),
    node("Cast", ["counted"], ["place"], [intAttribute("to", INT64)]),
    node("Add", ["place", "one"], ["position"]),
    node("Gather", ["positions", "position"], ["where"], [intAttribute("axis", 0)]),
    node("Gather", ["words", "input_ids"], ["what"], [intAttribute("axis", 0)]),
    node("Add", ["what", "where"], ["values"]),
    ...meanOver(attentionMask ? "attention_mask" : "text", "values"),
  ];
  const spread = (factor: number) => (_: unknown, at: number) => 3 * Math.sin(factor * at * at + 1);
  const constants = [
    tensor("one", [], BigInt64Array.of(1n)),
    tensor("axis", [], BigInt64Array.of(1n)),
    tensor("words", [VOCABULARY, 2], Float32Array.from({ length: VOCABULARY * 2 }, spread(0.7))),
    tensor("positions", [514, 2], Float32Array.from({ length: 514 * 2 }, spread(0.3))),
  ];
  const config = {
    architectures: ["RobertaForSequenceClassification"],
    model_type: "roberta",
    max_position_embeddings: 514,
    pad_token_id: 1,
  };
  const inputs = attentionMask ? ["input_ids", "attention_mask"] : ["input_ids"];
  await writeFolder(dir, config, textModel(inputs, nodes, constants));
}

/** A model like a decoder: its answer depends on a text's last token, so the last token of each row must not be padding. */
export async function writeLastTokenModel(dir: string): Promise<void> {
  const nodes = [
    node("Gather", ["input_ids", "last"], ["token"], [intAttribute("axis", 1)]),
    node("Gather", ["words", "token"], ["logits"], [intAttribute("axis", 0)]),
  ];
  const constants = [
    tensor("last", [], BigInt64Array.of(-1n)),
    tensor(
      "words",
      [VOCABULARY, 2],
      Float32Array.from({ length: VOCABULARY * 2 }, (_, at) => 3 * Math.sin(at * at + 1)),
    ),
  ];
  const config = { architectures: ["LlamaForSequenceClassification"], pad_token_id: PAD_TOKEN };
  await writeFolder(dir, config, textModel(["input_ids"], nodes, constants));
  const path = join(dir, "tokenizer_config.json");
  const tokenizerConfig = JSON.parse(await readFile(path, "utf8")) as object;
  await writeFile(path, JSON.stringify({ ...tokenizerConfig, padding_side: "left" }));
}

/** From `values` ([batch, sequence, 2]) to `logits`: the mean over the tokens in the mask. */
function meanOver(mask: string, values: string): Buffer[] {
  return [
    node("Cast", [mask], ["mask"], [intAttribute("to", FLOAT)]),
    node("Unsqueeze", ["mask", "lastAxis"], ["column"]),
    node("Mul", [values, "column"], ["masked"]),
    node("ReduceSum", ["masked", "sequenceAxis"], ["sum"], [intAttribute("keepdims", 0)]),
    node("ReduceSum", ["column", "sequenceAxis"], ["tokens"], [intAttribute("keepdims", 0)]),
    node("Div", ["sum", "tokens"], ["logits"]),
  ];
}

function textModel(names: string[], nodes: Buffer[], constants: Buffer[]): Buffer {
  const inputs = names.map((name) => valueInfo(name, INT64, ["batch", "sequence"]));
  const all = [
    ...constants,
    tensor("lastAxis", [1], BigInt64Array.of(2n)),
    tensor("sequenceAxis", [1], BigInt64Array.of(1n)),
  ];
  const body = graphProto("tiny", nodes, all, inputs, [valueInfo("logits", FLOAT, ["batch", 2])]);
  // ir_version 8, the graph, opset 13 of the default domain.
  return Buffer.concat([field(1, 8), field(7, body), field(8, Buffer.concat([field(1, ""), field(2, 13)]))]);
}

async function writeFolder(dir: string, config: object, onnx: Buffer): Promise<void> {
  await mkdir(join(dir, "onnx"), { recursive: true });
  await writeFile(join(dir, "config.json"), JSON.stringify({ ...config, id2label: { 0: "NEGATIVE", 1: "POSITIVE" } }));
  await writeFile(join(dir, "onnx", "model.onnx"), onnx);
  for (const file of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(new URL(file, TOKENIZER), join(dir, file));
}

/** A text on which the expression of `writeSpinningTokenizer` backtracks for years. */
export const SPINS = `${"a".repeat(60)}b`;

/** An expression that does not end on any text, so also not during loading. */
export const SPINS_ALWAYS = "(?:x?|y?){60}b";

/** Writes a folder with the tokenizer of `tiny-sentiment` and a regular expression of exponential time. */
export async function writeSpinningTokenizer(
  dir: string,
  where: "pre-tokenizer" | "normalizer",
  expression = "(?:a+)+$",
): Promise<void> {
  const pattern = { Regex: expression };
  await changeTokenizer(dir, (file) => {
    if (where === "normalizer") {
      const replace = { type: "Replace", pattern, content: "a" };
      return { ...file, normalizer: { type: "Sequence", normalizers: [replace, file.normalizer] } };
    }
    const split = { type: "Split", pattern, behavior: "Isolated", invert: false };
    return { ...file, pre_tokenizer: { type: "Sequence", pretokenizers: [split, file.pre_tokenizer] } };
  });
}

/** A text that the normalizer of `writeThrowingTokenizer` makes longer than the limit of strings. */
export const THROWS = "z".repeat(600);

/** Writes a folder with the tokenizer of `tiny-sentiment`, changed to throw on a text with many z. */
export async function writeThrowingTokenizer(dir: string): Promise<void> {
  await changeTokenizer(dir, (file) => {
    const replace = { type: "Replace", pattern: { String: "z" }, content: "y".repeat(2 ** 20) };
    return { ...file, normalizer: { type: "Sequence", normalizers: [replace, file.normalizer] } };
  });
}

async function changeTokenizer(dir: string, change: (file: Record<string, unknown>) => object): Promise<void> {
  await mkdir(dir, { recursive: true });
  const file = JSON.parse(await readFile(new URL("tokenizer.json", TOKENIZER), "utf8"));
  await writeFile(join(dir, "tokenizer.json"), JSON.stringify(change(file)));
  for (const name of ["tokenizer_config.json", "config.json"])
    await copyFile(new URL(name, TOKENIZER), join(dir, name));
}
