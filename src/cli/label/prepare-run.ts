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
import { checkWorkers, readWorkers } from "../check-workers.ts";
import type { CommandContext } from "../context.ts";
import { localDevices } from "../local-devices.ts";
import { localPath } from "../local-path.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { asPrefix, defaultOut, lockOut, openOut } from "../output-location.ts";
import { cancelRun } from "../run/cancel.ts";
import { isS3, s3Of } from "../s3.ts";
import { passedOverLines } from "../terminal/passed-over.ts";
import { decideTravel, imageRoots, type LabelInput, openLabelInputs, type Roots } from "./inputs.ts";
import { type ChosenModel, ModelChoice } from "./model-choice.ts";
import type { LabelRequest } from "./request.ts";

/** A checked run. Its output is locked; nothing is written and nothing is queued yet. */
export type Prepared = {
  s3: S3;
  store: ObjectStore;
  lock: OutputLock;
  model: ChosenModel;
  /** Devices of the worker in this process. Undefined if only the workers of REDIS_URL do the work. */
  devices: DeviceChoice | undefined;
  inputs: readonly LabelInput[];
  /** What a worker has to open besides the output. */
  roots: Roots;
  opened: OpenedOutput;
  /**
   * Claims the output for the run. The caller does this last, when nothing can fail before the first slice: a claim that is left behind
   * blocks the next command.
   */
  claim: () => Promise<void>;
};

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
  const { config, terminal } = context;
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const out = asPrefix(request.out ?? defaultOut(request.inputs[0]!));
  const workers = config.redisUrl ? await readWorkers({ url: config.redisUrl }) : undefined;
  // Inputs first: a pull of the model takes long, and an error in the inputs should be reported before.
  const images = await imageRoots(request);
  const remote = workers !== undefined && !request.sharedFiles;
  const { opened, again, passedOver } = await openLabelInputs(request, {
    ...{ stdin: context.stdin, s3, remote },
    fileRoots: config.fileRoots,
  });
  if (again > 0) terminal.say(`${again} inputs are named more than once; each is labeled once`);
  for (const line of passedOverLines(passedOver)) terminal.say(line);
  // Remote workers choose their own devices.
  const devices = config.redisUrl && !request.withWorker ? undefined : await localDevices(config);
  const choice = new ModelChoice(await openModels(config, { on: devices }), new PullBar(terminal), signal);
  const { kind, withWorker, queueAnyway = false, sharedFiles = false } = request;
  const model = await choice.choose(kind, request.model, withWorker ? undefined : workers, queueAnyway);
  if (!request.model) terminal.say(`No --model given: using ${model.pin.id}`);
  if (workers) await checkRemote(request, workers, model, out, images);
  const able = serving(workers ?? [], model.pin.digest);
  const { inputs, roots, why } = await decideTravel(opened, { workers: able, own: devices !== undefined, sharedFiles });
  for (const reason of why) terminal.say(`Items of inputs travel through Redis: ${reason}`);

  const store = await openOut(out, s3);
  const lock = open.use(await lockOut(out, store, s3));
  open.defer(context.interrupts?.lastly(() => lock.release()) ?? (() => {}));
  const former = request.overwrite ? await readRunFile(store) : undefined;
  if (former) await checkClearable(store);
  const before = former ? undefined : await readRunFile(store);
  const sliceItems = config.sliceItems ?? before?.spec.sliceItems ?? sliceItemsFor(workers ?? [], model.pin.digest);
  const wanted = { ...runFileOf(request, context, model, inputs, sliceItems), passedOver };
  const all = { files: [...images.files, ...roots.files], s3: [...images.s3, ...roots.s3] };
  const found: OpenedOutput = former
    ? { kind: "new", runFile: wanted }
    : await inspectOutput(store, wanted, (theirs) => livenessOf(theirs, config));
  const claim = async () => {
    if (former) await overwrite(store, former.run, context);
    await claimOutput(store, found);
  };
  return { s3, store, lock, model, devices, inputs, roots: all, opened: found, claim };
}

/** Ends the run that the output belongs to, and deletes what it wrote. */
async function overwrite(store: ObjectStore, run: string, { config, terminal }: CommandContext): Promise<void> {
  if (config.redisUrl) await cancelRun({ url: config.redisUrl }, run);
  await clearOutput(store);
  terminal.say(`Run ${run} is overwritten`);
}

/** The caller holds the lock of the output, so no other command is running this run. Workers may be. */
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
  if (!sharedFiles && !isS3(out))
    throw localPath(`the output ${out}`, "choose an output with --out s3://BUCKET/PREFIX/");
  if (withWorker || queueAnyway) return;
  const uriOf = (path: string) => pathToFileURL(path).href;
  const inputs = [...roots.s3, ...(sharedFiles ? roots.files.map(uriOf) : [])];
  await checkWorkers(workers, model.pin, { output: isS3(out) ? out : uriOf(resolve(out)), inputs });
}

function runFileOf(
  request: LabelRequest,
  { config }: CommandContext,
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
