import { once } from "node:events";
import { LabelmillError } from "../../errors.ts";
import type { NotReady } from "../../health/health.ts";
import { type DeviceChoice, describeDevices } from "../../inference/devices/devices.ts";
import type { Model } from "../../inference/model/model.ts";
import { resolveModel } from "../../models/resolve.ts";
import { planFromRunFile } from "../../producers/planning/plan-from-run-file.ts";
import { describeAddress, openRedis, type RedisAddress } from "../../redis/connect.ts";
import { retry } from "../../retry/retry.ts";
import { type RunningWorker, startWorker } from "../../workers/worker.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { openHealthPort } from "../health-port.ts";
import { localDevices } from "../local-devices.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { s3Of } from "../s3.ts";
import { inWorker } from "../terminal/interrupt-messages.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The waits between attempts to reach Redis or the hub at the start. */
const START_BACKOFF = { firstMs: 500, maxMs: 30_000, jitter: 0.5 };

/**
 * `labelmill worker`: pulls missing models, then serves until `signal` aborts.
 * @param names default: the catalog's default for each task
 * @returns the exit code after a normal end
 * @throws LabelmillError if the worker fails
 */
export async function serve(
  names: readonly string[] | undefined,
  context: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  const { config, terminal, log, interrupts } = context;
  interrupts?.handle({ describe: () => "stopping: no slice was taken yet" });
  const redis = lastingRedis(config);
  await using open = new AsyncDisposableStack();
  let worker: RunningWorker | undefined;
  await openHealthPort(config, open, () => readiness(worker, signal));
  const devices = await localDevices(config);
  const models = await loadModels(names, devices, context, signal);
  if (!models) return EXIT.ok;
  if (!(await untilConnected(redis, terminal, signal))) return EXIT.ok;
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const started = await startWorker({
    ...{ redis, config, models, devices, s3, roots: { files: [], s3: [] }, log, plan: planFromRunFile },
    ...(context.thread ? { thread: context.thread } : {}),
  });
  worker = started;
  open.defer(() => started.close());
  interrupts?.handle(inWorker(config));
  const served = models.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
  terminal.say(`Serving ${served} from ${describeAddress(redis)}, ${describeDevices(devices)}`);
  const failure = await Promise.race([started.failed, aborted(signal)]);
  if (failure) {
    interrupts?.endStuck(config.graceMs);
    throw failure;
  }
  return EXIT.ok;
}

function readiness(worker: RunningWorker | undefined, signal: AbortSignal): true | NotReady {
  if (signal.aborted) return "stopping";
  if (!worker) return "starting";
  return worker.isReady || "no connection to Redis";
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

/** Loads the models. Waits for a hub that is not available, at most `outageLimit`. @returns undefined if `signal` aborts first */
async function loadModels(
  names: readonly string[] | undefined,
  on: DeviceChoice,
  { config, terminal }: CommandContext,
  signal: AbortSignal,
): Promise<Model[] | undefined> {
  const settings = await openModels(config, { on });
  const until = Date.now() + config.outageLimit;
  const mayPass = ({ code, retryable }: LabelmillError) =>
    code === "MODEL_UNAVAILABLE" && retryable && Date.now() < until;
  const models: Model[] = [];
  for (const name of names ?? Object.values(settings.catalog.defaults)) {
    const pull = () => resolveModel(name, settings, new PullBar(terminal), signal);
    const model = await retried(pull, mayPass, terminal, signal);
    if (!model) return undefined;
    if (models.some(({ digest }) => digest === model.digest))
      throw new LabelmillError("USAGE", `${name} is given twice in --models`);
    models.push(model);
  }
  return models;
}

/** Waits for a Redis server that is not reachable or not suitable. @returns false if `signal` aborts first */
async function untilConnected(redis: RedisAddress, terminal: Terminal, signal: AbortSignal): Promise<boolean> {
  const open = async () => {
    (await openRedis(redis, "worker")).disconnect();
    return true;
  };
  return (await retried(open, ({ code }) => code !== "CONFIG_INVALID", terminal, signal)) ?? false;
}

/**
 * Repeats the work, with backoff, while `mayPass` accepts its error. Prints each new reason once.
 * @returns undefined if `signal` aborts first
 */
async function retried<T>(
  work: () => Promise<T>,
  mayPass: (error: LabelmillError) => boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<T | undefined> {
  let printed = "";
  const onFailure = (error: unknown): number => {
    if (!(error instanceof LabelmillError) || !mayPass(error)) throw error;
    if (error.message !== printed) terminal.say(`${error.code}: ${error.message} Trying again until it works.`);
    printed = error.message;
    return 0;
  };
  try {
    return await retry(work, { backoff: START_BACKOFF, onFailure, signal });
  } catch (error) {
    if (signal.aborted && error === signal.reason) return undefined;
    throw error;
  }
}
