import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import { servedAs } from "../fleet/registry.ts";
import { loadModel, type Model } from "../inference/model.ts";
import type { ModelPin } from "../schemas/run.ts";
import type { WorkerInfo } from "../schemas/worker.ts";

export type LabelKind = "text" | "images";

/** The model of a run: what pins it, how many labels it has, and its files where they are here. */
export type ChosenModel = { pin: ModelPin; labels: number; files?: Model };

export const BUILT_IN_DIR = fileURLToPath(new URL("../../models/", import.meta.url));
export const DEFAULT_MODELS = { text: "tiny-sentiment", images: "tiny-image" } as const;
const TASKS = { text: "text-classification", images: "image-classification" } as const;

/**
 * Finds a model by its name: a built-in one, a folder, or, where workers are asked, what they say that they serve.
 * @param workers those that are there; undefined where the command has a worker of its own and so needs the files
 * @throws LabelmillError MODEL_NOT_FOUND, MODEL_INVALID (its files, or another task)
 */
export async function chooseModel(
  kind: LabelKind,
  name: string | undefined,
  workers: readonly WorkerInfo[] | undefined,
): Promise<ChosenModel> {
  const wanted = name ?? DEFAULT_MODELS[kind];
  const chosen = await fromFiles(wanted).catch((error: unknown) => {
    if (!(error instanceof LabelmillError) || error.code !== "MODEL_NOT_FOUND" || !workers) throw error;
    return fromWorkers(wanted, workers, error);
  });
  if (chosen.pin.task === TASKS[kind]) return chosen;
  throw new LabelmillError(
    "MODEL_INVALID",
    `label ${kind} needs a model for ${TASKS[kind]}; ${chosen.pin.id} is for ${chosen.pin.task}`,
  );
}

export function pinOf({ id, revision, digest, dtype, task }: ModelPin): ModelPin {
  return { id, revision, digest, dtype, task };
}

async function fromFiles(name: string): Promise<ChosenModel> {
  const files = await loadModel(name, BUILT_IN_DIR);
  return { pin: pinOf(files), labels: files.labels.length, files };
}

function fromWorkers(name: string, workers: readonly WorkerInfo[], notHere: LabelmillError): ChosenModel {
  const versions = servedAs(workers, name);
  const [found] = versions;
  if (found && versions.length === 1) return { pin: pinOf(found), labels: found.labels };
  if (found) {
    const names = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
    throw new LabelmillError("MODEL_NOT_FOUND", `workers serve several versions of ${name}: name one of ${names}`);
  }
  const served = [...new Set(workers.flatMap(({ models }) => models.map(({ id }) => id)))].sort().join(", ");
  const message = `${notHere.message}; ${served ? `workers serve ${served}` : "and no worker is there"}`;
  throw new LabelmillError("MODEL_NOT_FOUND", message, { cause: notHere });
}
