import { fileURLToPath } from "node:url";
import type { LabelKind } from "../src/cli/model-choice.ts";
import { loadModel, type Model } from "../src/inference/model.ts";

const BUILT_IN_DIR = fileURLToPath(new URL("../models/", import.meta.url));

export function openModel(ref: string): Promise<Model> {
  return loadModel(ref, BUILT_IN_DIR);
}

export function kindOf(model: Model): LabelKind {
  return model.task === "text-classification" ? "text" : "images";
}
