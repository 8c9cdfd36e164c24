import { z } from "zod";
import { WorkerRegistry } from "../../fleet/registry.ts";
import { ServedModelSchema, WorkerInfoSchema } from "../../schemas/worker.ts";
import type { App, ServerDeps } from "../deps.ts";

/** Without the host, the process id and the folders of the worker: these are for operators. */
const WorkerSchema = WorkerInfoSchema.pick({ id: true, software: true, startedAt: true }).extend({
  models: z.array(
    ServedModelSchema.pick({
      ...{ id: true, digest: true, dtype: true, task: true, device: true },
      ...{ slots: true, itemsPerSecond: true, held: true },
    }),
  ),
});

export function workerRoutes(app: App, deps: ServerDeps): void {
  app.get(
    "/v1/workers",
    {
      config: { scope: "read" },
      schema: {
        summary: "The workers that are registered now",
        tags: ["service"],
        response: { 200: z.object({ workers: z.array(WorkerSchema) }) },
      },
    },
    async () => ({ workers: await new WorkerRegistry(deps.redis).workers() }),
  );
}
