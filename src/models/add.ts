import { realpath } from "node:fs/promises";
import { LabelmillError } from "../errors.ts";
import { dtypesIn, loadModel, type Model } from "../inference/model/model.ts";
import { encodeOnce } from "../inference/preprocess/prepare-pool.ts";
import { probeSession } from "../inference/sessions/session-probe.ts";
import type { Dtype } from "../schemas/dtype.ts";
import type { Task } from "../schemas/task.ts";
import { putEntries } from "./catalog-file.ts";

export type AddRequest = {
  dir: string;
  id: string;
  /** The user's own catalog. */
  file: string;
};

/** Long enough to load, optimize and run a model of a gigabyte. */
const TRIAL_MS = 120_000;

/**
 * Checks a model's folder (files, labels, task, inputs and outputs by a trial run, in each precision found) and adds it to the
 * user's catalog by a name, with the hashes of its files.
 * @returns the model, once for each precision
 * @throws LabelmillError MODEL_NOT_FOUND, MODEL_INVALID with the file and what was expected; then nothing is written
 */
export async function addModel({ dir, id, file }: AddRequest): Promise<Model[]> {
  const folder = await realpath(dir).catch(() => dir);
  const found = await dtypesIn(folder);
  // Without any precision, loading reports the missing file.
  const dtypes: Dtype[] = found.length > 0 ? found : ["fp32"];
  const models: Model[] = [];
  for (const dtype of dtypes) models.push(await checked(folder, id, dtype));
  const pins = Object.fromEntries(models.map(({ dtype, files }) => [dtype, { files }]));
  await putEntries(file, [{ id, task: models[0]!.task, folder, pins }]);
  return models;
}

async function checked(dir: string, id: string, dtype: Dtype): Promise<Model> {
  const model = await loadModel(dir, { id, dtype });
  await CHECK_PREPARATION[model.task](dir);
  const problem = await probeSession(dir, "cpu", dtype, TRIAL_MS);
  if (problem === undefined) return model;
  // A session's errors name the file. Those of a process that died do not.
  const named = problem.includes(model.modelFile) ? problem : `${model.modelFile}: ${problem}`;
  throw new LabelmillError("MODEL_INVALID", `model ${dir}: ${named}`);
}

/** Checks what prepares the items of a task, beyond what loading and the trial run check. */
const CHECK_PREPARATION: Record<Task, (dir: string) => Promise<void>> = {
  "text-classification": checkTokenizer,
  "image-classification": async () => {},
};

async function checkTokenizer(dir: string): Promise<void> {
  const { ids } = await encodeOnce(dir, "a trial");
  if (ids.length === 0)
    throw new LabelmillError("MODEL_INVALID", `model ${dir}: tokenizer.json: expected tokens of a text, got none`);
}
