import { LabelmillError } from "../../errors.ts";
import type { OnnxOutput } from "../onnx/file-scan.ts";
import { isObject, type Json, show } from "./json.ts";

/** What transformers gives a classifier that does not say how many labels it has. */
const USUAL_COUNT = 2;
/** Far above any classifier. */
const MOST_LABELS = 1_000_000;

/**
 * A classifier's labels by index, from its config.json: `id2label`, whose numbers are taken as text; without it `LABEL_0`, `LABEL_1`, …
 * as transformers names them, as many as `num_labels` says, or else as the ONNX file's output has, or else two.
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
  const said = config.num_labels;
  if (said !== undefined) {
    if (!Number.isInteger(said) || (said as number) < 0 || (said as number) > MOST_LABELS)
      throw invalid(`num_labels: expected a number of labels, got ${show(said)}`);
    if ((said as number) < 2) throw tooFew("num_labels", said as number);
    return said as number;
  }
  const width = (outputs.find(({ name }) => name === "logits") ?? outputs[0])?.dims.at(1);
  if (width === undefined || width < 1) return USUAL_COUNT;
  if (width < 2 || width > MOST_LABELS) throw tooFew("id2label is missing, and the ONNX file's output", width);
  return width;
}

/** Softmax over one label is always 1: such a model is a regression. */
function tooFew(field: string, count: number): LabelmillError {
  return invalid(`${field}: expected at least 2 labels, got ${count}`);
}

function invalid(problem: string): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `config.json: ${problem}`);
}
