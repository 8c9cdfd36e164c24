import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError } from "../errors.ts";
import { loadModel, type Model } from "../inference/model.ts";
import { describeAddress, openRedis, type RedisAddress } from "../redis/connect.ts";
import { startWorker } from "../workers/worker.ts";
import { lastingRedis } from "./context.ts";
import { EXIT, type LabelWorld } from "./label.ts";
import { BUILT_IN_DIR, DEFAULT_MODELS } from "./model-choice.ts";
import { s3Of } from "./s3.ts";
import type { Terminal } from "./terminal.ts";

const LONGEST_WAIT_MS = 30_000;

/** `labelmill worker`: serves until `signal` aborts. @returns the exit code of an orderly end */
export async function serve(
  names: readonly string[] | undefined,
  { config, terminal, log }: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  const redis = lastingRedis(config);
  const models = await loadModels(names ?? Object.values(DEFAULT_MODELS));
  await using open = new AsyncDisposableStack();
  if (!(await untilThere(redis, terminal, signal))) return EXIT.labeled;
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const worker = await startWorker({ redis, config, models, s3, roots: { files: [], s3: [] }, log });
  open.defer(() => worker.close());
  const served = models.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  terminal.say(`Serving ${served} from ${describeAddress(redis)}`);
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  return EXIT.labeled;
}

async function loadModels(names: readonly string[]): Promise<Model[]> {
  const models: Model[] = [];
  for (const name of names) {
    const model = await loadModel(name, BUILT_IN_DIR);
    if (models.some(({ digest }) => digest === model.digest))
      throw new LabelmillError("USAGE", `${name} is named twice in --models`);
    models.push(model);
  }
  return models;
}

/** A worker outlives its server: it waits for one that is not there, or not fit, and says why once for each reason. */
async function untilThere(redis: RedisAddress, terminal: Terminal, signal: AbortSignal): Promise<boolean> {
  let said = "";
  for (let waitMs = 500; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
    try {
      (await openRedis(redis, "worker")).disconnect();
      return true;
    } catch (error) {
      if (!(error instanceof LabelmillError) || error.code === "CONFIG_INVALID") throw error;
      if (error.message !== said) terminal.say(`${error.code}: ${error.message} Trying again until it works.`);
      said = error.message;
    }
    await delay(waitMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
    if (signal.aborted) return false;
  }
}
