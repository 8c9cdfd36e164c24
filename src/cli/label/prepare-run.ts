import type { DeviceChoice } from "../../inference/devices/devices.ts";
import { readWorkers } from "../../producers/runs/check-workers.ts";
import {
  type PrepareDeps,
  type Prepared as PreparedRun,
  prepareRun as prepare,
} from "../../producers/runs/prepare-run.ts";
import type { RunRequest } from "../../producers/runs/request.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { CommandContext } from "../context.ts";
import { localDevices } from "../local-devices.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { s3Of } from "../s3.ts";
import { passedOverLines } from "../terminal/passed-over.ts";
import { defaultOut } from "./default-out.ts";
import { type ChosenModel, ModelChoice } from "./model-choice.ts";
import type { LabelRequest } from "./request.ts";

/** The model of a run, and the devices of the worker in this process. Undefined if only the workers of REDIS_URL do the work. */
type ModelAndDevices = ChosenModel & { devices: DeviceChoice | undefined };

/** A checked run of a command. Its output is locked; nothing is written and nothing is queued yet. */
export type Prepared = PreparedRun<ModelAndDevices> & { s3: S3 };

/**
 * Checks the inputs, the model, the workers and the output of a run before anything is queued.
 * @param open closes everything that was opened, the lock included
 * @throws LabelmillError
 */
export async function prepareRun(
  request: LabelRequest,
  context: CommandContext,
  open: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Prepared> {
  const s3 = s3Of(context.config);
  open.defer(() => s3.close());
  const deps = await prepareDeps(request, context, s3, open, signal);
  return { ...(await prepare(withOut(request), deps, open)), s3 };
}

/** The request with the default output. */
export function withOut<R extends RunRequest>(request: R): R & { out: string } {
  return { ...request, out: request.out ?? defaultOut(request.inputs[0]!) };
}

/** What a command gives to the preparation of a run. */
export async function prepareDeps(
  request: RunRequest & Pick<LabelRequest, "withWorker">,
  context: CommandContext,
  s3: S3,
  open: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<PrepareDeps<ModelAndDevices>> {
  const { config, terminal, interrupts, stdin } = context;
  const { redisUrl, fileRoots } = config;
  const address = redisUrl ? { url: redisUrl } : undefined;
  const workers = address ? await readWorkers(address) : undefined;
  const { kind, model, withWorker, queueAnyway = false } = request;
  // Remote workers choose their own devices.
  const ownWorker = !redisUrl || withWorker === true;
  return {
    s3,
    inputs: { stdin, fileRoots },
    workers,
    ownWorker,
    choose: async () => {
      const devices = ownWorker ? await localDevices(config) : undefined;
      const choice = new ModelChoice(await openModels(config, { on: devices }), new PullBar(terminal), signal);
      return { ...(await choice.choose(kind, model, withWorker ? undefined : workers, queueAnyway)), devices };
    },
    settings: config,
    embedded: !redisUrl,
    runs: address && {
      state: (run) => withRedis(address, (redis) => new RunLedger(redis).state(run)),
      cancel: (run) => withRedis(address, (redis) => new RunLedger(redis).cancel(run)),
    },
    say: (line) => terminal.say(line),
    reportPassedOver: (report) => {
      for (const line of passedOverLines(report)) terminal.say(line);
    },
    onLock: (lock) => open.defer(interrupts?.lastly(() => lock.release()) ?? (() => {})),
  };
}
