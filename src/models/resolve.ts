import { LabelmillError } from "../errors.ts";
import { dtypesIn, loadModel, type Model, type ModelFile, ONNX_FILES } from "../inference/model/model.ts";
import type { DeviceKind } from "../schemas/device.ts";
import type { Dtype } from "../schemas/dtype.ts";
import type { Task } from "../schemas/task.ts";
import type { Catalog } from "./catalog.ts";
import { findPulled, type ModelSource, type Pulled, type PullProgress, pullModel } from "./hub/pull.ts";
import { type FolderModel, type HubModel, type NamedModel, notHere, otherwise, readName } from "./names.ts";

/** Where models are looked for, and which of their files are wanted. */
export type ModelSettings = {
  catalog: Catalog;
  /** Where pulled models are kept. */
  modelsDir: string;
  /** Never ask the hub. */
  offline: boolean;
  endpoint: string;
  token?: string;
  /** `auto`: fp16 on CUDA where the model has it, else fp32; of a pinned model, what is pinned of these. */
  dtype: Dtype | "auto";
  device: DeviceKind;
};

/** The precisions that `auto` takes, the best first. */
const AUTO_DTYPES: Record<DeviceKind, readonly Dtype[]> = { cpu: ["fp32"], cuda: ["fp16", "fp32"] };

/** Told how pulls go. */
export type PullListener = {
  began(model: HubModel, dtype: Dtype): void;
  progress(progress: PullProgress): void;
  /** Undefined: it failed. */
  ended(pulled: Pulled | undefined): void;
  say(line: string): void;
};

/**
 * The model of a name, with its files: what is here is taken as it is, what is not is pulled from the hub.
 * @throws LabelmillError MODEL_NOT_FOUND, MODEL_INVALID, MODEL_HASH (files are not what is pinned: nothing is used), and what a
 * pull throws
 */
export async function resolveModel(
  name: string,
  settings: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<Model> {
  const named = await readName(name, settings.catalog);
  if (named.kind === "folder") return loadFolder(named, settings);
  return loadPulled(named, await obtain(named, settings, listener, signal), settings);
}

/**
 * The same without ever asking the hub.
 * @returns undefined where the model would have to be pulled
 * @throws LabelmillError as `resolveModel`
 */
export async function findModel(named: NamedModel, settings: ModelSettings): Promise<Model | undefined> {
  if (named.kind === "folder") return loadFolder(named, settings);
  for (const dtype of dtypesOf(named, settings)) {
    const pulled = await findPulled(sourceOf(named, dtype), settings.modelsDir, named.pins[dtype]);
    if (pulled) return loadPulled(named, pulled, settings);
  }
  return undefined;
}

/** Pulls a model though it may be here: the hub is asked what it has now. @throws LabelmillError as `resolveModel`, and USAGE */
export async function pullAnew(
  name: string,
  settings: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<Model> {
  const named = await readName(name, settings.catalog);
  if (named.kind === "folder")
    throw new LabelmillError("USAGE", `${name} is the folder ${named.dir}: there is nothing to pull`);
  if (settings.offline)
    throw new LabelmillError("USAGE", "pulling asks the hub: leave --offline (LABELMILL_OFFLINE) out");
  const pulled = await firstOf(named, settings, listener, (dtype) => pull(named, dtype, settings, listener, signal));
  return loadPulled(named, pulled!, settings);
}

async function obtain(
  named: HubModel,
  settings: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<Pulled> {
  const { catalog, modelsDir, offline } = settings;
  const found = await firstOf(named, settings, listener, async (dtype) => {
    const here = await findPulled(sourceOf(named, dtype), modelsDir, named.pins[dtype]);
    return here ?? (offline ? undefined : pull(named, dtype, settings, listener, signal));
  });
  if (found) return found;
  throw notHere(named.name, catalog);
}

/** The first dtype that there is, and, where that is not the best one, a word about it. */
async function firstOf(
  named: HubModel,
  settings: ModelSettings,
  listener: PullListener,
  get: (dtype: Dtype) => Promise<Pulled | undefined>,
): Promise<Pulled | undefined> {
  const [best, ...others] = dtypesOf(named, settings);
  const missing: string[] = [];
  for (const dtype of [best!, ...others]) {
    const isLast = dtype === (others.at(-1) ?? best);
    const found = await get(dtype).catch((error: unknown) => {
      // A repository that has no such file may have another.
      if (isLast || !(error instanceof LabelmillError) || error.code !== "MODEL_NOT_FOUND") throw error;
      return undefined;
    });
    if (found && missing.length > 0)
      listener.say(`${named.name}: no ${missing.join(", ")} to be had: taking ${ONNX_FILES[dtype]} (${dtype})`);
    if (found) return found;
    missing.push(ONNX_FILES[dtype]);
  }
  return undefined;
}

async function pull(
  named: HubModel,
  dtype: Dtype,
  { catalog, modelsDir, endpoint, token }: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<Pulled> {
  listener.began(named, dtype);
  let pulled: Pulled | undefined;
  try {
    pulled = await pullModel(sourceOf(named, dtype), {
      modelsDir,
      endpoint,
      signal,
      onProgress: (progress) => listener.progress(progress),
      token,
      pins: named.pins[dtype],
    });
    return pulled;
  } catch (error) {
    if (!(error instanceof LabelmillError) || error.code !== "MODEL_UNAVAILABLE") throw error;
    const { code, message, retryable } = error;
    throw new LabelmillError(code, `${message}; ${otherwise(named.name, catalog)}`, { cause: error, retryable });
  } finally {
    listener.ended(pulled);
  }
}

/** What was pulled, as a model, its files checked against what the pull noted of them. @throws LabelmillError MODEL_HASH, MODEL_INVALID */
export async function loadPulled(
  { name, id, task }: HubModel,
  { dir, lock }: Pulled,
  settings: ModelSettings,
): Promise<Model> {
  const model = await loadModel(dir, { id, revision: lock.commit, dtype: lock.dtype });
  const mend = settings.offline
    ? otherwise(name, settings.catalog)
    : `pull it again (\`labelmill models pull ${name}\`)`;
  checkFiles(model, lock.files, mend);
  return checkTask(model, name, task);
}

async function loadFolder({ name, id, dir, pins, task }: FolderModel, settings: ModelSettings): Promise<Model> {
  const dtype = settings.dtype === "auto" ? await bestIn(dir, settings.device) : settings.dtype;
  const model = await loadModel(dir, { dtype, ...(id === undefined ? {} : { id }) });
  // What was not there when the folder was added is as foreign as what has changed since.
  if (pins) checkFiles(model, pins[dtype]?.files ?? [], `add it again (\`labelmill models add ${dir} --id ${name}\`)`);
  return checkTask(model, name, task);
}

function dtypesOf({ pins }: HubModel, { dtype, device }: ModelSettings): Dtype[] {
  if (dtype !== "auto") return [dtype];
  const wanted = AUTO_DTYPES[device];
  const pinned = wanted.filter((each) => pins[each] !== undefined);
  return pinned.length > 0 ? pinned : [...wanted];
}

async function bestIn(dir: string, device: ModelSettings["device"]): Promise<Dtype> {
  const present = await dtypesIn(dir);
  return AUTO_DTYPES[device].find((dtype) => present.includes(dtype)) ?? "fp32";
}

/** What is pinned is asked for by its commit: it stays what it is when its branch moves on. */
export function sourceOf({ repo, revision, pins }: HubModel, dtype: Dtype): ModelSource {
  return { repo, revision: pins[dtype]?.commit ?? revision, dtype };
}

function checkFiles({ dir, files }: Model, expected: readonly ModelFile[], mend: string): void {
  const known = new Map(expected.map(({ path, sha256 }) => [path, sha256]));
  for (const { path, sha256 } of files) {
    const pinned = known.get(path);
    if (pinned === sha256) continue;
    const wanted =
      pinned === undefined ? "no such file among those that are pinned" : `SHA-256 ${pinned}, as it is pinned`;
    throw new LabelmillError("MODEL_HASH", `model ${dir}: ${path}: expected ${wanted}, got ${sha256}: ${mend}`);
  }
}

function checkTask(model: Model, name: string, task: Task | undefined): Model {
  if (task === undefined || task === model.task) return model;
  throw new LabelmillError(
    "MODEL_INVALID",
    `model ${model.dir}: expected a model for ${task}, as the catalog says of ${name}, got one for ${model.task}`,
  );
}
