import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Config } from "../../config.ts";
import { serving } from "../../fleet/registry.ts";
import type { DeviceChoice } from "../../inference/devices/devices.ts";
import { claimOutput, inspectOutput, type Liveness, type OpenedOutput } from "../../outputs/claim.ts";
import { checkClearable, clearOutput } from "../../outputs/clear.ts";
import { readRunFile } from "../../outputs/output.ts";
import { newRunFile } from "../../outputs/run-file.ts";
import { sliceItemsFor } from "../../producers/planning/slice-size.ts";
import { openRedis } from "../../redis/connect.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { isEnded } from "../../runs/state.ts";
import type { RunFile } from "../../schemas/run.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import type { OutputLock } from "../../storage/lease/lock.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";
import type { LabelWorld } from "../context.ts";
import { PullBar } from "../models/pull-bar.ts";
import { openModels } from "../models/settings.ts";
import { ownDevices } from "../own-devices.ts";
import { asPrefix, defaultOut, lockOut, openOut } from "../place.ts";
import { checkWorkers, localPath, readWorkers } from "../remote.ts";
import { cancelRun } from "../run/cancel.ts";
import { isS3, s3Of } from "../s3.ts";
import { passedOverLines } from "../terminal/passed-over.ts";
import { decideTravel, imageRoots, type LabelInput, openLabelInputs, type Roots } from "./inputs.ts";
import { type ChosenModel, ModelChoice } from "./model-choice.ts";
import type { LabelRequest } from "./request.ts";

/** A run whose output was looked at and is locked: nothing is written there yet, and nothing is queued. */
export type Prepared = {
  s3: S3;
  store: ObjectStore;
  lock: OutputLock;
  model: ChosenModel;
  /** Of a worker in this process; none: those of REDIS_URL do the work. */
  devices: DeviceChoice | undefined;
  inputs: readonly LabelInput[];
  /** What a worker has to open, besides the output. */
  roots: Roots;
  opened: OpenedOutput;
  /**
   * Makes the output the run's. For when all that can fail before the first slice has not failed: a claim that is left behind stands in
   * the way of the next command.
   */
  claim: () => Promise<void>;
};

/**
 * Checks all that a run needs before anything of it is queued: inputs, model, workers, output.
 * @param open closes what was opened, the lock among it
 * @throws LabelmillError
 */
export async function prepareRun(
  request: LabelRequest,
  world: LabelWorld,
  open: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Prepared> {
  const { config, terminal } = world;
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const out = asPrefix(request.out ?? defaultOut(request.inputs[0]!));
  const workers = config.redisUrl ? await readWorkers({ url: config.redisUrl }) : undefined;
  // A model may have to be pulled first: what is wrong with the inputs is told before.
  const images = await imageRoots(request);
  const remote = workers !== undefined && !request.sharedFiles;
  const { opened, again, passedOver } = await openLabelInputs(request, {
    ...{ stdin: world.stdin, s3, remote },
    fileRoots: config.fileRoots,
  });
  if (again > 0) terminal.say(`${again} inputs were named more than once: each is labeled once`);
  for (const line of passedOverLines(passedOver)) terminal.say(line);
  // Workers elsewhere have devices of their own.
  const devices = config.redisUrl && !request.withWorker ? undefined : await ownDevices(config);
  const choice = new ModelChoice(await openModels(config, { on: devices }), new PullBar(terminal), signal);
  const { kind, withWorker, queueAnyway = false, sharedFiles = false } = request;
  const model = await choice.choose(kind, request.model, withWorker ? undefined : workers, queueAnyway);
  if (!request.model) terminal.say(`No --model: taking ${model.pin.id}`);
  if (workers) await checkRemote(request, workers, model, out, images);
  const able = serving(workers ?? [], model.pin.digest);
  const { inputs, roots, why } = await decideTravel(opened, { workers: able, own: devices !== undefined, sharedFiles });
  for (const reason of why) terminal.say(`Items of inputs travel through Redis: ${reason}`);

  const store = await openOut(out, s3);
  const lock = open.use(await lockOut(out, store, s3));
  open.defer(world.interrupts?.lastly(() => lock.release()) ?? (() => {}));
  const former = request.overwrite ? await readRunFile(store) : undefined;
  if (former) await checkClearable(store);
  const before = former ? undefined : await readRunFile(store);
  const sliceItems = config.sliceItems ?? before?.spec.sliceItems ?? sliceItemsFor(workers ?? [], model.pin.digest);
  const wanted = { ...runFileOf(request, world, model, inputs, sliceItems), passedOver };
  const all = { files: [...images.files, ...roots.files], s3: [...images.s3, ...roots.s3] };
  const found: OpenedOutput = former
    ? { kind: "new", runFile: wanted }
    : await inspectOutput(store, wanted, (theirs) => livenessOf(theirs, config));
  const claim = async () => {
    if (former) await overwrite(store, former.run, world);
    await claimOutput(store, found);
  };
  return { s3, store, lock, model, devices, inputs, roots: all, opened: found, claim };
}

/** What another run left there goes, and that run ends. */
async function overwrite(store: ObjectStore, run: string, { config, terminal }: LabelWorld): Promise<void> {
  if (config.redisUrl) await cancelRun({ url: config.redisUrl }, run);
  await clearOutput(store);
  terminal.say(`Run ${run} is overwritten`);
}

/** The caller holds the output's lock, so no command works on the run; workers may, or may begin to. */
async function livenessOf({ run, embedded }: RunFile, { redisUrl }: Config): Promise<Liveness> {
  if (embedded) return "dead";
  if (!redisUrl) return "unknown";
  const redis = await openRedis({ url: redisUrl }, "producer");
  try {
    const state = await new RunLedger(redis).state(run);
    return state === undefined || isEnded(state) ? "dead" : "live";
  } finally {
    redis.disconnect();
  }
}

/** @throws LabelmillError LOCAL_PATH_REMOTE_WORKER, NO_WORKER, NOT_GRANTED */
async function checkRemote(
  { sharedFiles, withWorker, queueAnyway }: LabelRequest,
  workers: readonly WorkerInfo[],
  model: ChosenModel,
  out: string,
  roots: Roots,
): Promise<void> {
  if (!sharedFiles && !isS3(out)) throw localPath(`the output ${out}`, "name one with --out s3://BUCKET/PREFIX/");
  if (withWorker || queueAnyway) return;
  const uriOf = (path: string) => pathToFileURL(path).href;
  const inputs = [...roots.s3, ...(sharedFiles ? roots.files.map(uriOf) : [])];
  await checkWorkers(workers, model.pin, { output: isS3(out) ? out : uriOf(resolve(out)), inputs });
}

function runFileOf(
  request: LabelRequest,
  { config }: LabelWorld,
  model: ChosenModel,
  inputs: readonly LabelInput[],
  sliceItems: number,
): RunFile {
  const { read, share, limit, output, lane, maxErrors, sliceTimeoutMs, pricePerHour } = request;
  const runFile = newRunFile({
    spec: {
      model: model.pin,
      read,
      topK: Math.min(request.topK, model.labels),
      sliceItems,
      sliceBytes: config.sliceBytes,
      events: config.events,
      ...(share === undefined ? {} : { sample: share }),
      ...(limit === undefined ? {} : { limit }),
      ...(output ? { output } : {}),
    },
    settings: {
      lane,
      ...(maxErrors === undefined ? {} : { maxErrors }),
      ...(sliceTimeoutMs === undefined ? {} : { sliceTimeoutMs }),
      ...(pricePerHour === undefined ? {} : { pricePerHour }),
    },
    inputs,
  });
  return config.redisUrl ? runFile : { ...runFile, embedded: true };
}
