import { LabelmillError } from "../../errors.ts";
import { servedAs, WorkerRegistry } from "../../fleet/registry.ts";
import type { RunModel } from "../../producers/runs/request.ts";
import type { Task } from "../../schemas/task.ts";
import type { ServerDeps } from "../deps.ts";

/**
 * The model of a request: a declared one, else the only version that workers serve under the name.
 * @param name default: the first declared model for the task
 * @throws LabelmillError NO_WORKER, MODEL_INVALID for a model of another task, MODEL_NOT_FOUND without a declared default
 */
export async function findModel(
  { models, redis }: Pick<ServerDeps, "models" | "redis">,
  name: string | undefined,
  task: Task,
): Promise<RunModel> {
  const declared = name === undefined ? models.default(task) : models.find(name);
  const found = declared ?? (await servedModel(redis, name!));
  if (found.pin.task === task) return { pin: found.pin, labels: found.labels };
  throw new LabelmillError(
    "MODEL_INVALID",
    `expected a model for ${task}, got ${found.pin.id}, which is for ${found.pin.task}: GET /v1/models lists the models`,
  );
}

async function servedModel(redis: ServerDeps["redis"], name: string): Promise<RunModel> {
  const versions = servedAs(await new WorkerRegistry(redis).workers(), name);
  const [found] = versions;
  if (found && versions.length === 1) {
    const { id, revision, digest, dtype, task, labels } = found;
    return { pin: { id, revision, digest, dtype, task }, labels };
  }
  const several = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  throw new LabelmillError(
    "NO_WORKER",
    found
      ? `expected one version of the model ${name}, but workers serve several: choose one of ${several}`
      : `expected a model that the server declares or a worker serves, got ${JSON.stringify(name)}: GET /v1/models lists them`,
  );
}
