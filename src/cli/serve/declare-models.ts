import { LabelmillError } from "../../errors.ts";
import { servedAs } from "../../fleet/registry.ts";
import type { Model } from "../../inference/model/model.ts";
import type { ModelSettings, PullListener } from "../../models/resolve.ts";
import { resolveModel } from "../../models/resolve.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import type { DeclaredModel } from "../../server/models/declared-models.ts";
import { pinOf } from "../label/model-choice.ts";

/** The declared form of a model whose files are on this machine. */
export function declaredOf(name: string, model: Model): DeclaredModel {
  return { name, pin: pinOf(model), labels: model.labels.length, labelNames: model.labels };
}

/**
 * Finds the models of `serve --models` without a worker in this process: the version that workers serve under the name, else the model
 * of the catalog, which is pulled if it is not on this machine.
 * @throws LabelmillError MODEL_NOT_FOUND with the served versions if workers serve several, and as `resolveModel`
 */
export async function declareModels(
  names: readonly string[],
  workers: readonly WorkerInfo[],
  settings: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<DeclaredModel[]> {
  const declared: DeclaredModel[] = [];
  for (const name of names) {
    const versions = servedAs(workers, name);
    const [served] = versions;
    if (served && versions.length === 1) declared.push({ name, pin: pinOf(served), labels: served.labels });
    else if (served) throw severalVersions(name, versions);
    else declared.push(declaredOf(name, await resolveModel(name, settings, listener, signal)));
  }
  return declared;
}

function severalVersions(name: string, versions: readonly { id: string; digest: string }[]): LabelmillError {
  const names = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  return new LabelmillError("MODEL_NOT_FOUND", `workers serve several versions of ${name}: choose one of ${names}`);
}
