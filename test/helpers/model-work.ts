import { once } from "node:events";
import { WorkerRegistry } from "../../src/fleet/registry.ts";
import { KEY_PREFIX } from "../../src/schemas/names.ts";
import type { ModelWork } from "../../src/schemas/worker.ts";
import type { TestPipeline } from "./runs/pipeline.ts";

/** The work figures of the pipeline's only worker for its only model. A lost connection makes the worker report at once. */
export async function currentWork(pipeline: TestPipeline): Promise<ModelWork> {
  const redis = await pipeline.connection();
  const registry = new WorkerRegistry(redis);
  const [before] = await registry.workers();
  const listener = await pipeline.connection();
  await redis.config("SET", "notify-keyspace-events", "K$");
  const reported = once(listener, "message");
  await listener.subscribe(`__keyspace@0__:${KEY_PREFIX}:worker:${before!.id}`);
  await redis.call("CLIENT", "KILL", "TYPE", "normal");
  await reported;
  const [worker] = await registry.workers();
  return worker!.models[0]!.work!;
}
