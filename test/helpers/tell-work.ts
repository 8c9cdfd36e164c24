import { once } from "node:events";
import { WorkerRegistry } from "../../src/fleet/registry.ts";
import { KEY_PREFIX } from "../../src/schemas/names.ts";
import type { ModelWork } from "../../src/schemas/worker.ts";
import type { TestPipeline } from "./runs/pipeline.ts";

/** What the pipeline's one worker tells of its one model, out of turn: it does when its connection is back. */
export async function tellWork(pipeline: TestPipeline): Promise<ModelWork> {
  const redis = await pipeline.connection();
  const registry = new WorkerRegistry(redis);
  const [before] = await registry.workers();
  const listener = await pipeline.connection();
  await redis.config("SET", "notify-keyspace-events", "K$");
  const told = once(listener, "message");
  await listener.subscribe(`__keyspace@0__:${KEY_PREFIX}:worker:${before!.id}`);
  await redis.call("CLIENT", "KILL", "TYPE", "normal");
  await told;
  const [worker] = await registry.workers();
  return worker!.models[0]!.work!;
}
