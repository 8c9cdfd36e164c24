import { z } from "zod";
import { WorkerRegistry } from "../../fleet/registry.ts";
import { DigestSchema } from "../../schemas/job.ts";
import { TaskSchema } from "../../schemas/task.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import type { App, ServerDeps } from "../deps.ts";
import type { DeclaredModel } from "../models/declared-models.ts";

const ModelSchema = z.object({
  name: z.string().describe("The name that requests use."),
  id: z.string(),
  digest: DigestSchema.describe("The digest of all that decides its labels."),
  dtype: z.string(),
  revision: z.string(),
  task: TaskSchema,
  labels: z.int().min(1).describe("The number of its labels: the most that `topK` can be."),
  labelNames: z.array(z.string()).optional().describe("Its labels. Omitted if only workers know them."),
  declared: z
    .boolean()
    .describe("Whether `serve --models` declares it. Items for it are queued even without a worker."),
  workers: z.int().min(0).describe("The number of workers that serve it now."),
  itemsPerSecond: z.number().nullable().describe("The rate of these workers together. Null if it is not measured yet."),
});
type ModelEntry = z.infer<typeof ModelSchema>;

export function modelRoutes(app: App, deps: ServerDeps): void {
  app.get(
    "/v1/models",
    {
      config: { scope: "read" },
      schema: {
        summary: "The models that are declared or served",
        tags: ["service"],
        response: { 200: z.object({ models: z.array(ModelSchema) }) },
      },
    },
    async () => {
      const workers = await new WorkerRegistry(deps.redis).workers();
      return { models: modelsOf(deps.models.all, workers) };
    },
  );
}

/** The declared models, then the other models that workers serve. */
function modelsOf(declared: readonly DeclaredModel[], workers: readonly WorkerInfo[]): ModelEntry[] {
  const entries = new Map<string, ModelEntry>();
  for (const { name, pin, labels, labelNames } of declared)
    entries.set(pin.digest, {
      ...{ name, ...pin, labels, declared: true, workers: 0, itemsPerSecond: null },
      ...(labelNames ? { labelNames: [...labelNames] } : {}),
    });
  for (const { models } of workers)
    for (const { id, digest, dtype, revision, task, labels, itemsPerSecond } of models) {
      const entry = entries.get(digest) ?? {
        ...{ name: id, id, digest, dtype, revision, task, labels },
        ...{ declared: false, workers: 0, itemsPerSecond: null },
      };
      entries.set(digest, entry);
      entry.workers += 1;
      if (itemsPerSecond !== null) entry.itemsPerSecond = (entry.itemsPerSecond ?? 0) + itemsPerSecond;
    }
  return [...entries.values()];
}
