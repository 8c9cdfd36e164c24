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
import { type ImageRecipe, parseImageRecipe } from "./image-recipe.ts";
import { type Json, readModelJson, show } from "./json.ts";
import { labelsOf } from "./labels.ts";
import { CONFIG_FIELDS } from "./text-fields.ts";
import type { PaddingSide } from "./tokenizer/config.ts";
import { readTokenizerFiles } from "./tokenizer/files.ts";

/** `path` is relative to the model's folder, with `/`; `size` in bytes. */
export type ModelFile = { path: string; size: number; sha256: string };

/** A model folder, checked: what it is, which files it is made of, and the digest that identifies it. */
export type Model = {
  id: string;
  dir: string;
  task: Task;
  revision: string;
  dtype: Dtype;
  /** By index of the model's output. */
  labels: string[];
  /** The token id that fills short texts up; only texts use it. */
  padId: number;
  /** On which side; only texts use it. */
  paddingSide: PaddingSide;
  /** SHA-256 over all that decides an answer: task, dtype, labels, recipe and the files' hashes. */
  digest: string;
  files: ModelFile[];
  /** The ONNX file's absolute path. */
  modelFile: string;
  /** How pictures are prepared; image models have one. */
  recipe?: ImageRecipe;
};

/** Where each precision's weights lie, as Hugging Face's exporters name them. */
export const ONNX_FILES = {
  fp32: "onnx/model.onnx",
  fp16: "onnx/model_fp16.onnx",
  q8: "onnx/model_quantized.onnx",
} as const satisfies Record<Dtype, string>;

const CONFIG = "config.json";
const RECIPE = "preprocessor_config.json";
/** Newer than RECIPE, and of models for several kinds of input: the recipe is its `image_processor`. */
const PROCESSOR = "processor_config.json";
const TOKENIZER = ["tokenizer.json", "tokenizer_config.json"];

export type LoadOptions = {
  /** What the model is called; the folder's last name by default. */
  id?: string;
  /** The commit that the files are of; `local` by default. */
  revision?: string;
  dtype?: Dtype;
};

/**
 * Reads a model folder in the Hugging Face layout. The weights may also lie in the folder itself, as Optimum leaves them.
 * @throws LabelmillError MODEL_NOT_FOUND, or MODEL_INVALID with the file and field that is wrong
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<Model> {
  const dir = resolve(folder);
  const { id = basename(dir), revision = "local", dtype = "fp32" } = options;
  await checkFolder(dir);
  const config = await readModelJson(dir, CONFIG);
  const refused = refusedField(config, CONFIG_FIELDS);
  if (refused) throw invalid(dir, `${CONFIG}: ${refused.field}: ${refused.problem}`);
  const task = await taskOf(dir, config);
  const text = task === "text-classification" ? await readTokenizerFiles(dir) : undefined;
  const image = task === "image-classification" ? await readRecipe(dir, config) : undefined;
  const weights = await findWeights(dir, dtype);
  const onnx = await scan(dir, weights);
  const labels = within(dir, () => labelsOf(config, onnx.outputs));
  const external = await findExternal(dir, weights, onnx.locations);
  const files = await hashFiles(dir, [CONFIG, ...(image ? [image.file] : TOKENIZER), weights, ...external]);
  const recipe = image?.recipe;
  return {
    id,
    dir,
    task,
    revision,
    dtype,
    labels,
    padId: text?.padId ?? 0,
    paddingSide: text?.paddingSide ?? "right",
    digest: createHash("sha256").update(canonical({ task, dtype, labels, recipe, files })).digest("hex"),
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
  if (found) throw invalid(dir, "expected a model's folder, got a file");
  throw new LabelmillError("MODEL_NOT_FOUND", `expected a model's folder, found nothing at ${dir}`);
}

async function weightsOf(dir: string, dtype: Dtype): Promise<string | undefined> {
  for (const path of [ONNX_FILES[dtype], posix.basename(ONNX_FILES[dtype])]) if (await exists(dir, path)) return path;
  return undefined;
}

async function findWeights(dir: string, dtype: Dtype): Promise<string> {
  const path = await weightsOf(dir, dtype);
  if (path !== undefined) return path;
  const others = await dtypesIn(dir);
  const instead = others.length > 0 ? `: it has ${others.join(", ")}, so say --dtype ${others[0]}` : "";
  throw invalid(dir, `${ONNX_FILES[dtype]}: expected this file for ${dtype}, but it is missing${instead}`);
}

async function taskOf(dir: string, config: Json): Promise<Task> {
  const architectures = Array.isArray(config.architectures) ? config.architectures : [];
  if (architectures.length > 0) {
    if (String(architectures[0]).endsWith("ForSequenceClassification")) return "text-classification";
    if (String(architectures[0]).endsWith("ForImageClassification")) return "image-classification";
    const expected = "a name that ends in ForSequenceClassification or ForImageClassification";
    throw invalid(dir, `${CONFIG}: architectures: expected ${expected}, got ${show(config.architectures)}`);
  }
  const [own, nested, text] = await Promise.all([
    exists(dir, RECIPE),
    nestedRecipe(dir),
    exists(dir, "tokenizer.json"),
  ]);
  const image = own || nested !== undefined;
  if (image !== text) return image ? "image-classification" : "text-classification";
  const came = image ? "both an image recipe and a tokenizer" : "neither";
  throw invalid(
    dir,
    `${CONFIG}: architectures is missing: expected ${RECIPE}, image_processor in ${PROCESSOR}, or tokenizer.json to tell the task, got ${came}`,
  );
}

/** The recipe, and the file that it is from. Where both files have one, versions of transformers differ in which they take. */
async function readRecipe(dir: string, config: Json): Promise<{ file: string; recipe: ImageRecipe }> {
  const hints = { modelType: config.model_type, processorType: config.image_processor_type };
  const parse = (json: unknown, file: string) => within(dir, () => parseImageRecipe(json, { ...hints, file }));
  const nested = await nestedRecipe(dir);
  const other = nested === undefined ? undefined : parse(nested, `${PROCESSOR}, image_processor`);
  if (other && !(await exists(dir, RECIPE))) return { file: PROCESSOR, recipe: other };
  const recipe = parse(await readModelJson(dir, RECIPE), RECIPE);
  if (other === undefined || canonical(other) === canonical(recipe)) return { file: RECIPE, recipe };
  throw invalid(
    dir,
    `${PROCESSOR}: image_processor: expected what ${RECIPE} says, got something else: remove one of them`,
  );
}

/** `image_processor` of processor_config.json; undefined where the file or the field is absent. */
async function nestedRecipe(dir: string): Promise<unknown> {
  return (await exists(dir, PROCESSOR)) ? (await readModelJson(dir, PROCESSOR)).image_processor : undefined;
}

/** Says of an error of `read` which model it is of. */
function within<T>(dir: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalid(dir, messageOf(error), error);
  }
}

/**
 * The files beside the ONNX file that belong to it: those that it names as the places of weights, and those that are named after it
 * (`model.onnx_data`), which digests have held from the beginning on.
 */
async function findExternal(dir: string, weights: string, locations: readonly string[]): Promise<string[]> {
  const folder = posix.dirname(weights);
  const beside = (await readdir(join(dir, folder))).map((name) => posix.join(folder, name));
  const namedAfter = beside.filter((path) => path.startsWith(weights) && path !== weights);
  const named = within(dir, () => externalPaths(weights, locations));
  for (const path of named)
    await checkExternal(dir, path).catch((error: unknown) => {
      throw invalid(dir, `${path}: ${messageOf(error)}`, error);
    });
  return [...named, ...namedAfter];
}

async function scan(dir: string, weights: string): Promise<OnnxScan> {
  return scanOnnx(join(dir, weights)).catch((error: unknown) => {
    if (systemCode(error) !== undefined) throw unreadable(dir, weights, error);
    throw invalid(dir, `${weights}: expected an ONNX model, got ${messageOf(error)}`, error);
  });
}

/** The files that decide an answer, by path, each once. */
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
    throw unreadable(dir, path, error);
  }
  if (size === 0) throw invalid(dir, `${path}: expected a file of the model, got an empty one`);
  return { path, size, sha256: hash.digest("hex") };
}

function exists(dir: string, path: string): Promise<boolean> {
  return stat(join(dir, path)).then(
    () => true,
    () => false,
  );
}

/** JSON with the keys of objects in order, so that equal values have equal bytes. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function unreadable(dir: string, path: string, error: unknown): LabelmillError {
  if (systemCode(error) === "ENOENT") return invalid(dir, `${path}: expected this file, but it is missing`, error);
  return invalid(dir, `${path}: cannot be read: ${messageOf(error)}`, error);
}

function invalid(dir: string, what: string, cause?: unknown): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `model ${dir}: ${what}`, { cause });
}
