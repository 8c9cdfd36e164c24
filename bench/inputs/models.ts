import { execFile } from "node:child_process";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Model } from "../../src/inference/model/model.ts";
import { loadBuiltIn } from "../../src/models/built-in.ts";
import type { LabelKind } from "../../src/producers/runs/request.ts";
import { cacheFolder } from "../config.ts";

/** Writes models of a real architecture with random weights. It may be beside the project. */
const MAKER = fileURLToPath(new URL("../../../shared/tools/make-model.mjs", import.meta.url));
export const TRUE_MODELS = { text: "distilbert-random", images: "resnet-50-random" } as const satisfies Record<
  LabelKind,
  string
>;

export function openModel(ref: string): Promise<Model> {
  return loadBuiltIn(ref);
}

export function kindOf(model: Model): LabelKind {
  return model.task === "text-classification" ? "text" : "images";
}

/** The folder of DistilBERT or ResNet-50 with random weights, made once; undefined if the tool that makes it is missing. */
export async function trueModel(kind: LabelKind, say: (line: string) => void): Promise<string | undefined> {
  const name = TRUE_MODELS[kind];
  const folder = join(cacheFolder(), name);
  if (await isThere(join(folder, "config.json"))) return folder;
  if (!(await isThere(MAKER))) return undefined;
  say(`making ${name}`);
  const aside = `${folder}.${process.pid}`;
  try {
    await mkdir(aside, { recursive: true });
    await promisify(execFile)(process.execPath, [MAKER, name, aside]);
    await rename(aside, folder);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return folder;
}

export async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
