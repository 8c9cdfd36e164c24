import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { serving } from "../../fleet/registry.ts";
import { claimOutput, inspectOutput, type Liveness, type OpenedOutput } from "../../outputs/claim.ts";
import { checkClearable, clearOutput } from "../../outputs/clear.ts";
import { readRunFile } from "../../outputs/output.ts";
import { newRunFile } from "../../outputs/run-file.ts";
import { isEnded } from "../../runs/state.ts";
import type { WebhookTarget } from "../../schemas/enrichment/target.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { RunFile, RunState, Spec } from "../../schemas/run.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import type { OutputLock } from "../../storage/lease/lock.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { isS3 } from "../../storage/s3/uri.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { sliceItemsFor } from "../planning/slice-size.ts";
import { checkWorkers } from "./check-workers.ts";
import { decideTravel, imageRoots, type LabelInput, type OpenInputs, openLabelInputs, type Roots } from "./inputs.ts";
import { localPath } from "./local-path.ts";
import { asPrefix, lockOut, openOut } from "./output-location.ts";
import type { RunModel, RunRequest } from "./request.ts";

/** A checked run. Its output is locked; nothing is written and nothing is queued yet. */
export type Prepared<M extends RunModel = RunModel> = {
  store: ObjectStore;
  lock: OutputLock;
  model: M;
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

export type PrepareDeps<M extends RunModel = RunModel> = {
  /** Opens the output. */
  s3: S3;
  /** Opens the inputs. Default: `s3`, without a check. */
  inputs: Omit<OpenInputs, "remote" | "s3"> & { s3?: S3 };
  /** The registered workers. Undefined: the only worker is in the process of the caller. */
  workers: readonly WorkerInfo[] | undefined;
  /** A worker in the process of the caller does the work too. */
  ownWorker: boolean;
  /** Chooses the model of the run. Called when the inputs are known to be valid, because a pull takes long. */
  choose(): Promise<M>;
  settings: { sliceItems?: number | undefined } & Pick<Spec, "sliceBytes" | "events">;
  /** The run is only in the Redis server of its command, which ends with the command. */
  embedded: boolean;
  /** The runs of the Redis server that outlives the caller, if there is one. */
  runs: { state(run: string): Promise<RunState | undefined>; cancel(run: string): Promise<unknown> } | undefined;
  /** All workers see the output, although it is a folder. Default: if the request says so. */
  sharedOutput?: boolean | undefined;
  /** The id of the run. Default: a new one. */
  run?: string | undefined;
  /** The webhooks that get the end of the run. */
  results?: readonly WebhookTarget[] | undefined;
  say(line: string): void;
  reportPassedOver(report: PassedOverReport): void;
  /** Called with the lock of the output, which `open` releases. */
  onLock?: ((lock: OutputLock) => void) | undefined;
};

/**
 * Checks the inputs, the model, the workers and the output of a run before anything is queued.
 * @param open closes everything that was opened, the lock included
 * @throws LabelmillError
 */
export async function prepareRun<M extends RunModel>(
  request: RunRequest & { out: string },
  deps: PrepareDeps<M>,
  open: AsyncDisposableStack,
): Promise<Prepared<M>> {
  const { s3, workers, ownWorker, settings } = deps;
  const out = asPrefix(request.out);
  const sharedFiles = request.sharedFiles === true;
  // Inputs first: a pull of the model takes long, and an error in the inputs should be reported before.
  for (const name of request.inputs) await deps.inputs.checkName?.(request.kind, name);
  const images = await imageRoots(request);
  const remote = workers !== undefined && !sharedFiles;
  const { opened, again, passedOver } = await openLabelInputs(request, { s3, ...deps.inputs, remote });
  if (again > 0) deps.say(`${again} inputs are named more than once; each is labeled once`);
  deps.reportPassedOver(passedOver);
  const model = await deps.choose();
  if (!request.model) deps.say(`No --model given: using ${model.pin.id}`);
  if (workers) await checkRemote(request, deps, workers, model, out, images);
  const able = serving(workers ?? [], model.pin.digest);
  const { inputs, roots, why } = await decideTravel(opened, { workers: able, own: ownWorker, sharedFiles });
  for (const reason of why) deps.say(`Items of inputs travel through Redis: ${reason}`);

  const store = await openOut(out, s3);
  const lock = open.use(await lockOut(out, store, s3));
  deps.onLock?.(lock);
  const former = request.overwrite ? await readRunFile(store) : undefined;
  if (former) await checkClearable(store);
  const before = former ? undefined : await readRunFile(store);
  const sliceItems = settings.sliceItems ?? before?.spec.sliceItems ?? sliceItemsFor(workers ?? [], model.pin.digest);
  const wanted = { ...runFileOf(request, deps, model, inputs, sliceItems), passedOver };
  const all = { files: [...images.files, ...roots.files], s3: [...images.s3, ...roots.s3] };
  const found: OpenedOutput = former
    ? { kind: "new", runFile: wanted }
    : await inspectOutput(store, wanted, (theirs) => livenessOf(theirs, deps));
  const claim = async () => {
    if (former) await overwrite(store, former.run, deps);
    await claimOutput(store, found);
  };
  return { store, lock, model, inputs, roots: all, opened: found, claim };
}

/** Ends the run that the output belongs to, and deletes what it wrote. */
async function overwrite(store: ObjectStore, run: string, { runs, say }: PrepareDeps): Promise<void> {
  await runs?.cancel(run);
  await clearOutput(store);
  say(`Run ${run} is overwritten`);
}

/** The caller holds the lock of the output, so no other command is running this run. Workers may be. */
async function livenessOf({ run, embedded }: RunFile, { runs }: PrepareDeps): Promise<Liveness> {
  if (embedded) return "dead";
  if (!runs) return "unknown";
  const state = await runs.state(run);
  return state === undefined || isEnded(state) ? "dead" : "live";
}

/** @throws LabelmillError LOCAL_PATH_REMOTE_WORKER, NO_WORKER, NOT_GRANTED */
async function checkRemote(
  { sharedFiles, queueAnyway }: RunRequest,
  { ownWorker, sharedOutput = sharedFiles === true }: PrepareDeps,
  workers: readonly WorkerInfo[],
  model: RunModel,
  out: string,
  roots: Roots,
): Promise<void> {
  if (!sharedOutput && !isS3(out))
    throw localPath(`the output ${out}`, "choose an output with --out s3://BUCKET/PREFIX/");
  if (ownWorker || queueAnyway) return;
  const uriOf = (path: string) => pathToFileURL(path).href;
  const inputs = [...roots.s3, ...(sharedFiles ? roots.files.map(uriOf) : [])];
  await checkWorkers(workers, model.pin, { output: isS3(out) ? out : uriOf(resolve(out)), inputs });
}

function runFileOf(
  request: RunRequest,
  { settings: { sliceBytes, events }, embedded, run, results = [] }: PrepareDeps,
  model: RunModel,
  inputs: readonly LabelInput[],
  sliceItems: number,
): RunFile {
  const { read, share, limit, output, lane, maxErrors, sliceTimeoutMs, pricePerHour } = request;
  const runFile = newRunFile({
    ...(run === undefined ? {} : { run }),
    spec: {
      model: model.pin,
      read,
      topK: Math.min(request.topK, model.labels),
      sliceItems,
      sliceBytes,
      events,
      ...(share === undefined ? {} : { sample: share }),
      ...(limit === undefined ? {} : { limit }),
      ...(output ? { output } : {}),
    },
    settings: {
      lane,
      ...(maxErrors === undefined ? {} : { maxErrors }),
      ...(sliceTimeoutMs === undefined ? {} : { sliceTimeoutMs }),
      ...(pricePerHour === undefined ? {} : { pricePerHour }),
      ...(results.length > 0 ? { results: [...results] } : {}),
    },
    inputs,
  });
  return embedded ? { ...runFile, embedded: true } : runFile;
}
