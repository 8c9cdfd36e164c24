import { LabelmillError } from "../../errors.ts";
import { servedAs, type WorkerRegistry } from "../../fleet/registry.ts";
import type { Model } from "../../inference/model/model.ts";
import type { ModelSettings, PullListener } from "../../models/resolve.ts";
import { resolveModel } from "../../models/resolve.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { LastServed, WorkerInfo } from "../../schemas/worker.ts";
import type { DeclaredModel } from "../../server/models/declared-models.ts";
import { pinOf } from "../label/model-choice.ts";

/** The declared form of a model whose files are on this machine. */
export function declaredOf(name: string, model: Model): DeclaredModel {
  return { name, pin: pinOf(model), labels: model.labels.length, labelNames: model.labels };
}

/** What Redis knows of the models of workers: those that run, and those of the last 30 days. */
export type Registered = { workers: readonly WorkerInfo[]; last: readonly LastServed[] };

export async function readRegistered(registry: WorkerRegistry): Promise<Registered> {
  const [workers, last] = await Promise.all([registry.workers(), registry.lastServed()]);
  return { workers, last };
}

/**
 * Finds the models of `serve --models` without a worker in this process: the version that workers serve under the name, else the one
 * that a worker registered last, else the model of the catalog, which is pulled if it is not on this machine.
 * @throws LabelmillError MODEL_NOT_FOUND with the served versions if workers serve several, and as `resolveModel`
 */
export async function declareModels(
  names: readonly string[],
  { workers, last }: Registered,
  settings: ModelSettings,
  listener: PullListener,
  signal: AbortSignal,
): Promise<DeclaredModel[]> {
  const declared: DeclaredModel[] = [];
  for (const name of names) {
    const versions = servedAs(workers, name);
    const [served] = versions;
    if (served && versions.length === 1) declared.push(declaredAs(name, served));
    else if (served) throw severalVersions(name, versions);
    else if (lastNamed(last, name)) declared.push(declaredAs(name, lastNamed(last, name)!));
    else declared.push(declaredOf(name, await resolveModel(name, settings, listener, signal)));
  }
  return declared;
}

function declaredAs(name: string, model: ModelPin & { labels: number }): DeclaredModel {
  return { name, pin: pinOf(model), labels: model.labels };
}

/** The version of a model that a worker registered last. `id@digest` selects one by the start of its digest. */
function lastNamed(last: readonly LastServed[], name: string): LastServed | undefined {
  const [id, digest = ""] = name.split("@");
  const versions = last.filter((model) => model.id === id && model.digest.startsWith(digest));
  return versions.sort((a, b) => b.seenAt.localeCompare(a.seenAt))[0];
}

function severalVersions(name: string, versions: readonly { id: string; digest: string }[]): LabelmillError {
  const names = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  return new LabelmillError("MODEL_NOT_FOUND", `workers serve several versions of ${name}: choose one of ${names}`);
}
