import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join, posix, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { openRegular } from "../../regular-file.ts";
import type { Dtype } from "../../schemas/dtype.ts";
import type { Task } from "../../schemas/task.ts";
import { type OnnxScan, scanOnnx } from "../onnx/file-scan.ts";
import { checkExternal, externalPaths } from "./external-weights.ts";
import { refusedField } from "./field-rules.ts";
import type { ImageRecipe } from "./image-recipe.ts";
import { canonicalJson, readModelJson } from "./json.ts";
import { labelsOf } from "./labels.ts";
import { existsIn, invalidModel, unreadableFile, withinModel } from "./model-folder.ts";
import { readTaskFiles, taskOf } from "./task-files.ts";
import { CONFIG_FIELDS } from "./text-fields.ts";
import type { PaddingSide } from "./tokenizer/config.ts";

/** `path` is relative to the model's folder, with `/`; `size` in bytes. */
export type ModelFile = { path: string; size: number; sha256: string };

/** A checked model folder: its task, labels and files, and the digest that identifies it. */
export type Model = {
  id: string;
  dir: string;
  task: Task;
  revision: string;
  dtype: Dtype;
  /** By index of the model's output. */
  labels: string[];
  /** The token id that pads short texts. Only text models use it. */
  padId: number;
  /** The side on which short texts are padded. Only text models use it. */
  paddingSide: PaddingSide;
  /** SHA-256 over everything that decides an answer: task, dtype, labels, recipe and the files' hashes. */
  digest: string;
  files: ModelFile[];
  /** The ONNX file's absolute path. */
  modelFile: string;
  /** How images are prepared. Only image models have it. */
  recipe?: ImageRecipe;
};

/** The path of each precision's weights, as Hugging Face's exporters name them. */
export const ONNX_FILES = {
  fp32: "onnx/model.onnx",
  fp16: "onnx/model_fp16.onnx",
  q8: "onnx/model_quantized.onnx",
} as const satisfies Record<Dtype, string>;

const CONFIG = "config.json";

export type LoadOptions = {
  /** The model's name. Default: the last name of the folder's path. */
  id?: string;
  /** The commit of the files. Default: `local`. */
  revision?: string;
  dtype?: Dtype;
};

/**
 * Reads a model folder in the Hugging Face layout. The weights may also be in the folder itself, where Optimum puts them.
 * @throws LabelmillError MODEL_NOT_FOUND, or MODEL_INVALID with the file and field that is wrong
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<Model> {
  const dir = resolve(folder);
  const { id = basename(dir), revision = "local", dtype = "fp32" } = options;
  await checkFolder(dir);
  const config = await readModelJson(dir, CONFIG);
  const refused = refusedField(config, CONFIG_FIELDS);
  if (refused) throw invalidModel(dir, `${CONFIG}: ${refused.field}: ${refused.problem}`);
  const task = await taskOf(dir, config);
  const { files: taskFiles, padId, paddingSide, recipe } = await readTaskFiles(dir, task, config);
  const weights = await findWeights(dir, dtype);
  const onnx = await scan(dir, weights);
  const labels = withinModel(dir, () => labelsOf(config, onnx.outputs));
  const external = await findExternal(dir, weights, onnx.locations);
  const files = await hashFiles(dir, [CONFIG, ...taskFiles, weights, ...external]);
  return {
    ...{ id, dir, task, revision, dtype, labels, padId, paddingSide },
    digest: createHash("sha256").update(canonicalJson({ task, dtype, labels, recipe, files })).digest("hex"),
    files,
    modelFile: join(dir, weights),
    ...(recipe && { recipe }),
  };
}

/** The precisions whose weights are in a folder, in the order of ONNX_FILES. */
export async function dtypesIn(dir: string): Promise<Dtype[]> {
  const dtypes = Object.keys(ONNX_FILES) as Dtype[];
  const found = await Promise.all(dtypes.map((dtype) => weightsOf(dir, dtype)));
  return dtypes.filter((_, at) => found[at] !== undefined);
}

async function checkFolder(dir: string): Promise<void> {
  const found = await stat(dir).catch(() => undefined);
  if (found?.isDirectory()) return;
  if (found) throw invalidModel(dir, "expected a model's folder, got a file");
  throw new LabelmillError("MODEL_NOT_FOUND", `expected a model's folder, found nothing at ${dir}`);
}

async function weightsOf(dir: string, dtype: Dtype): Promise<string | undefined> {
  for (const path of [ONNX_FILES[dtype], posix.basename(ONNX_FILES[dtype])]) if (await existsIn(dir, path)) return path;
  return undefined;
}

async function findWeights(dir: string, dtype: Dtype): Promise<string> {
  const path = await weightsOf(dir, dtype);
  if (path !== undefined) return path;
  const others = await dtypesIn(dir);
  const fix = others.length > 0 ? `: it has ${others.join(", ")}, so use --dtype ${others[0]}` : "";
  throw invalidModel(dir, `${ONNX_FILES[dtype]}: expected this file for ${dtype}, but it is missing${fix}`);
}

/**
 * The files that belong to the ONNX file: those that it names as the locations of weights, and those beside it whose names begin with
 * its own (`model.onnx_data`), which digests have always included.
 */
async function findExternal(dir: string, weights: string, locations: readonly string[]): Promise<string[]> {
  const folder = posix.dirname(weights);
  const beside = (await readdir(join(dir, folder))).map((name) => posix.join(folder, name));
  const namedAfter = beside.filter((path) => path.startsWith(weights) && path !== weights);
  const named = withinModel(dir, () => externalPaths(weights, locations));
  for (const path of named)
    await checkExternal(dir, path).catch((error: unknown) => {
      throw invalidModel(dir, `${path}: ${messageOf(error)}`, error);
    });
  return [...named, ...namedAfter];
}

async function scan(dir: string, weights: string): Promise<OnnxScan> {
  return scanOnnx(join(dir, weights)).catch((error: unknown) => {
    if (systemCode(error) !== undefined) throw unreadableFile(dir, weights, error);
    throw invalidModel(dir, `${weights}: expected an ONNX model, got ${messageOf(error)}`, error);
  });
}

/** The files that decide an answer, sorted by path, without duplicates. */
async function hashFiles(dir: string, paths: readonly string[]): Promise<ModelFile[]> {
  return Promise.all([...new Set(paths)].sort().map((path) => hashFile(dir, path)));
}

async function hashFile(dir: string, path: string): Promise<ModelFile> {
  const hash = createHash("sha256");
  let size = 0;
  try {
    const stream = (await openRegular(join(dir, path))).createReadStream();
    await pipeline(stream, hash);
    size = stream.bytesRead;
  } catch (error) {
    throw unreadableFile(dir, path, error);
  }
  if (size === 0) throw invalidModel(dir, `${path}: expected a file of the model, got an empty one`);
  return { path, size, sha256: hash.digest("hex") };
}
