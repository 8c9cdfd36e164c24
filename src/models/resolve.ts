import { LabelmillError } from "../errors.ts";
import { dtypesIn, loadModel, type Model, type ModelFile, ONNX_FILES } from "../inference/model/model.ts";
import type { DeviceKind } from "../schemas/device.ts";
import type { Dtype } from "../schemas/dtype.ts";
import type { Task } from "../schemas/task.ts";
import type { Catalog } from "./catalog.ts";
import { findPulled, type ModelSource, type Pulled, type PullProgress, pullModel } from "./hub/pull.ts";
import { type FolderModel, type HubModel, type NamedModel, notHere, otherwise, readName } from "./names.ts";

/** Where to look for models, and which of their files to use. */
export type ModelSettings = {
  catalog: Catalog;
  /** The folder of pulled models. */
  modelsDir: string;
  /** Never connects to the hub. */
  offline: boolean;
  endpoint: string;
  token?: string;
  /** `auto`: fp16 on CUDA if the model has it, else fp32. A pinned model is used in its pinned precisions only. */
  dtype: Dtype | "auto";
  device: DeviceKind;
};

/** The precisions that `auto` takes, the best first. */
const AUTO_DTYPES: Record<DeviceKind, readonly Dtype[]> = { cpu: ["fp32"], cuda: ["fp16", "fp32"] };

/** Receives the progress of pulls. */
export type PullListener = {
  began(model: HubModel, dtype: Dtype): void;
  progress(progress: PullProgress): void;
  /** @param pulled undefined for a failed pull */
  ended(pulled: Pulled | undefined): void;
  say(line: string): void;
};

/**
 * Loads the model of a name. A model on this machine is used as it is, another one is pulled from the hub.
 * @throws LabelmillError MODEL_NOT_FOUND, MODEL_INVALID, MODEL_HASH (files differ from the pins: nothing is used), and the errors
 * of a pull
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
 * Loads the model of a name, without connecting to the hub.
 * @returns undefined if the model must be pulled first
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

/** Pulls a model even if it is on this machine: the hub may have a newer one. @throws LabelmillError as `resolveModel`, and USAGE */
export async function pullAgain(
  name: string,
  settings: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<Model> {
  const named = await readName(name, settings.catalog);
  if (named.kind === "folder")
    throw new LabelmillError("USAGE", `${name} is the folder ${named.dir}: there is nothing to pull`);
  if (settings.offline)
    throw new LabelmillError("USAGE", "pulling needs the hub: remove --offline (LABELMILL_OFFLINE)");
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

/** The first available dtype. Reports a dtype that is not the best one. */
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
      // A repository without this file may have another one.
      if (isLast || !(error instanceof LabelmillError) || error.code !== "MODEL_NOT_FOUND") throw error;
      return undefined;
    });
    if (found && missing.length > 0)
      listener.say(`${named.name}: ${missing.join(", ")} is not available: using ${ONNX_FILES[dtype]} (${dtype})`);
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

/** Loads a pulled model and checks its files against its lock. @throws LabelmillError MODEL_HASH, MODEL_INVALID */
export async function loadPulled(
  { name, id, task }: HubModel,
  { dir, lock }: Pulled,
  settings: ModelSettings,
): Promise<Model> {
  const model = await loadModel(dir, { id, revision: lock.commit, dtype: lock.dtype });
  const fix = settings.offline
    ? otherwise(name, settings.catalog)
    : `pull it again (\`labelmill models pull ${name}\`)`;
  checkFiles(model, lock.files, fix);
  return checkTask(model, name, task);
}

async function loadFolder({ name, id, dir, pins, task }: FolderModel, settings: ModelSettings): Promise<Model> {
  const dtype = settings.dtype === "auto" ? await bestIn(dir, settings.device) : settings.dtype;
  const model = await loadModel(dir, { dtype, ...(id === undefined ? {} : { id }) });
  // A file that was added later is an error like one that changed.
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

/** A pinned model is requested by its commit, so that it stays the same when its branch changes. */
export function sourceOf({ repo, revision, pins }: HubModel, dtype: Dtype): ModelSource {
  return { repo, revision: pins[dtype]?.commit ?? revision, dtype };
}

function checkFiles({ dir, files }: Model, expected: readonly ModelFile[], fix: string): void {
  const known = new Map(expected.map(({ path, sha256 }) => [path, sha256]));
  for (const { path, sha256 } of files) {
    const pinned = known.get(path);
    if (pinned === sha256) continue;
    const wanted = pinned === undefined ? "a pinned file" : `the pinned SHA-256 ${pinned}`;
    throw new LabelmillError("MODEL_HASH", `model ${dir}: ${path}: expected ${wanted}, got ${sha256}: ${fix}`);
  }
}

function checkTask(model: Model, name: string, task: Task | undefined): Model {
  if (task === undefined || task === model.task) return model;
  throw new LabelmillError(
    "MODEL_INVALID",
    `model ${model.dir}: expected a model for ${task}, as the catalog has for ${name}, got one for ${model.task}`,
  );
}
