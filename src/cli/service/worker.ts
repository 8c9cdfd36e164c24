import { once } from "node:events";
import { LabelmillError } from "../../errors.ts";
import { type DeviceChoice, describeDevices } from "../../inference/devices/devices.ts";
import type { Model } from "../../inference/model/model.ts";
import { resolveModel } from "../../models/resolve.ts";
import { planFromRunFile } from "../../producers/planning/plan-from-run-file.ts";
import { describeAddress, openRedis, type RedisAddress } from "../../redis/connect.ts";
import { retry } from "../../retry/retry.ts";
import { startWorker } from "../../workers/worker.ts";
import type { LabelWorld } from "../context.ts";
import { lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { PullBar } from "../models/pull-bar.ts";
import { openModels } from "../models/settings.ts";
import { ownDevices } from "../own-devices.ts";
import { s3Of } from "../s3.ts";
import { inWorker } from "../terminal/interrupted.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The waits for a hub or a Redis server that is out when the worker starts. */
const START_BACKOFF = { firstMs: 500, maxMs: 30_000, jitter: 0.5 };

/**
 * `labelmill worker`: pulls what it serves and is not here, then serves until `signal` aborts.
 * @param names none: the catalog's default of each task
 * @returns the exit code of an orderly end
 */
export async function serve(
  names: readonly string[] | undefined,
  world: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  const { config, terminal, log, interrupts } = world;
  interrupts?.handle({ tell: () => "stopping: no slice was taken yet" });
  const redis = lastingRedis(config);
  const devices = await ownDevices(config);
  const models = await loadModels(names, devices, world, signal);
  if (!models) return EXIT.labeled;
  await using open = new AsyncDisposableStack();
  if (!(await untilThere(redis, terminal, signal))) return EXIT.labeled;
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const worker = await startWorker({
    ...{ redis, config, models, devices, s3, roots: { files: [], s3: [] }, log, plan: planFromRunFile },
    ...(world.thread ? { thread: world.thread } : {}),
  });
  open.defer(() => worker.close());
  interrupts?.handle(inWorker(config));
  const served = models.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  terminal.say(`Serving ${served} from ${describeAddress(redis)}, ${describeDevices(devices)}`);
  const failure = await Promise.race([worker.failed, aborted(signal)]);
  if (failure) {
    interrupts?.endStuck(config.graceMs);
    throw failure;
  }
  return EXIT.labeled;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

/** Waits for a hub that is out, at most as long as for a store. @returns undefined where `signal` aborted first */
async function loadModels(
  names: readonly string[] | undefined,
  on: DeviceChoice,
  { config, terminal }: LabelWorld,
  signal: AbortSignal,
): Promise<Model[] | undefined> {
  const settings = await openModels(config, { on });
  const until = Date.now() + config.outageLimit;
  const mayPass = ({ code, retryable }: LabelmillError) =>
    code === "MODEL_UNAVAILABLE" && retryable && Date.now() < until;
  const models: Model[] = [];
  for (const name of names ?? Object.values(settings.catalog.defaults)) {
    const pull = () => resolveModel(name, settings, new PullBar(terminal), signal);
    const model = await again(pull, mayPass, terminal, signal);
    if (!model) return undefined;
    if (models.some(({ digest }) => digest === model.digest))
      throw new LabelmillError("USAGE", `${name} is named twice in --models`);
    models.push(model);
  }
  return models;
}

/** A worker outlives its server: it waits for one that is not there, or not fit. */
async function untilThere(redis: RedisAddress, terminal: Terminal, signal: AbortSignal): Promise<boolean> {
  const open = async () => {
    (await openRedis(redis, "worker")).disconnect();
    return true;
  };
  return (await again(open, ({ code }) => code !== "CONFIG_INVALID", terminal, signal)) ?? false;
}

/**
 * Does the work again, with backoff, while its failure is one that may pass; says why once for each reason.
 * @returns undefined where `signal` aborted first
 */
async function again<T>(
  work: () => Promise<T>,
  mayPass: (error: LabelmillError) => boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<T | undefined> {
  let said = "";
  const onFailure = (error: unknown): number => {
    if (!(error instanceof LabelmillError) || !mayPass(error)) throw error;
    if (error.message !== said) terminal.say(`${error.code}: ${error.message} Trying again until it works.`);
    said = error.message;
    return 0;
  };
  try {
    return await retry(work, { backoff: START_BACKOFF, onFailure, signal });
  } catch (error) {
    if (signal.aborted && error === signal.reason) return undefined;
    throw error;
  }
}
