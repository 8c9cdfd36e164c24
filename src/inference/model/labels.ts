import { LabelmillError } from "../../errors.ts";
import type { OnnxOutput } from "../onnx/file-scan.ts";
import { isObject, type Json, show } from "./json.ts";

/** The number of labels that transformers assumes if none is given. */
const DEFAULT_COUNT = 2;
/** Far more than any classifier has. */
const MAX_LABELS = 1_000_000;

/**
 * A classifier's labels by index: `id2label` of its config.json, with numbers converted to text. Without it the labels are `LABEL_0`,
 * `LABEL_1`, …, as in transformers. Their number is `num_labels`, else the width of the ONNX file's output, else 2.
 * @throws LabelmillError MODEL_INVALID, naming the field
 */
export function labelsOf(config: Json, outputs: readonly OnnxOutput[]): string[] {
  const table = config.id2label;
  if (table === undefined) return Array.from({ length: countOf(config, outputs) }, (_, index) => `LABEL_${index}`);
  if (!isObject(table)) throw invalid(`id2label: expected an object from index to label, got ${show(table)}`);
  const count = Object.keys(table).length;
  if (count < 2) throw tooFew("id2label", count);
  return Array.from({ length: count }, (_, index) => {
    const label = table[index];
    if (typeof label === "number") return String(label);
    if (typeof label === "string" && label !== "") return label;
    throw invalid(
      `id2label: expected the indexes 0 to ${count - 1}, each with a label, got ${show(label)} at ${index}`,
    );
  });
}

function countOf(config: Json, outputs: readonly OnnxOutput[]): number {
  const value = config.num_labels;
  if (value !== undefined) {
    const count = Number.isInteger(value) ? (value as number) : -1;
    if (count < 0 || count > MAX_LABELS)
      throw invalid(`num_labels: expected an integer from 2 to ${MAX_LABELS}, got ${show(value)}`);
    if (count < 2) throw tooFew("num_labels", count);
    return count;
  }
  const width = (outputs.find(({ name }) => name === "logits") ?? outputs[0])?.dims.at(1);
  if (width === undefined || width < 1) return DEFAULT_COUNT;
  if (width < 2 || width > MAX_LABELS) throw tooFew("id2label is missing, and the ONNX file's output", width);
  return width;
}

/** The softmax over one label is always 1: such a model does regression. */
function tooFew(field: string, count: number): LabelmillError {
  return invalid(`${field}: expected at least 2 labels, got ${count}`);
}

function invalid(problem: string): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `config.json: ${problem}`);
}
