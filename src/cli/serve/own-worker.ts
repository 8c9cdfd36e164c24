import { fileURLToPath } from "node:url";
import type { Config } from "../../config.ts";
import type { Model } from "../../inference/model/model.ts";
import { resolveModel } from "../../models/resolve.ts";
import { planFromRunFile } from "../../producers/planning/plan-from-run-file.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { type RunningWorker, startWorker } from "../../workers/worker.ts";
import type { CommandContext } from "../context.ts";
import { localDevices } from "../local-devices.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";

/** Loads the models of a worker in this process. @param names default: the catalog's default for each task */
export async function loadOwnModels(
  names: readonly string[] | undefined,
  { config, terminal }: CommandContext,
  signal: AbortSignal,
) {
  const devices = await localDevices(config);
  const settings = await openModels(config, { on: devices });
  const loaded: { name: string; model: Model }[] = [];
  for (const name of names ?? Object.values(settings.catalog.defaults))
    loaded.push({ name, model: await resolveModel(name, settings, new PullBar(terminal), signal) });
  return { devices, loaded };
}

/** Starts a worker in this process, which may open the output. */
export async function startOwnWorker(
  { devices, loaded }: Awaited<ReturnType<typeof loadOwnModels>>,
  { config, log, thread }: Pick<CommandContext, "log" | "thread"> & { config: Config },
  { redis, s3, output }: { redis: RedisAddress; s3: S3; output: string },
): Promise<RunningWorker> {
  const folder = output.startsWith("file:") ? fileURLToPath(output) : undefined;
  return startWorker({
    ...{ redis, config, devices, s3, log, plan: planFromRunFile },
    models: loaded.map(({ model }) => model),
    roots: folder ? { files: [folder], s3: [], outputs: [folder] } : { files: [], s3: [output], outputs: [output] },
    ...(thread ? { thread } : {}),
  });
}
