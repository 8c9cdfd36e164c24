import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { openOutput, readManifest } from "../runs/output.ts";
import { newRunFile } from "../runs/run-file.ts";
import type { ReadOptions } from "../schemas/input.ts";
import { DEFAULT_SLICE_ITEMS } from "../schemas/job.ts";
import type { Lane } from "../schemas/names.ts";
import type { RunFile, RunState } from "../schemas/run.ts";
import type { WorkerInfo } from "../schemas/worker.ts";
import { grantsOf, openImageSource, s3GrantsOf } from "../sources/images.ts";
import { expandInputs, openInputs } from "../sources/inputs.ts";
import { cutSlices } from "../sources/slices.ts";
import type { Source } from "../sources/source.ts";
import { openTextSources } from "../sources/text.ts";
import type { S3 } from "../storage/s3.ts";
import type { WorkerOptions } from "../workers/worker.ts";
import { type ChosenModel, type LabelKind, ModelChoice } from "./model-choice.ts";
import { openModels } from "./model-settings.ts";
import { ownDevices } from "./own-devices.ts";
import { asPrefix, defaultOut, lockOut, openOut } from "./place.ts";
import { ProgressBar } from "./progress.ts";
import { PullBar } from "./pull-bar.ts";
import { checkWorkers, localPath, readWorkers, withoutLocalImages } from "./remote.ts";
import { type Report, report, showPlace, summarize } from "./report.ts";
import { isS3, s3Of } from "./s3.ts";
import { runSession } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** What `labelmill label` was asked for. */
export type LabelRequest = {
  kind: LabelKind;
  inputs: readonly string[];
  read: ReadOptions;
  /** Of the catalog, `hf:…`, a folder, or what workers serve; none: the catalog's default for this kind. */
  model?: string;
  out?: string;
  topK: number;
  /** Rows shown at the end. */
  sample: number;
  lane: Lane;
  /** Leave when the last slice is queued. */
  detach?: boolean;
  /** With REDIS_URL: work in this process too. Without it, a worker of the command's own is the only one. */
  withWorker?: boolean;
  /** Queue though nobody serves the model. */
  queueAnyway?: boolean;
  /** All workers see the paths that this machine sees. */
  sharedFiles?: boolean;
};

export type LabelWorld = {
  config: Config;
  environment: { path: string };
  stdin: Readable;
  terminal: Terminal;
  log: Logger;
  around?: WorkerOptions["around"];
  thread?: WorkerOptions["thread"];
};

export type Labeled = { code: number; summary: Record<string, unknown> };

export const EXIT = { labeled: 0, failed: 1, usage: 2, someInError: 3, interrupted: 130 } as const;

/**
 * The main job: reads the inputs, labels every item, leaves an output that proves itself.
 * @returns the exit code, and what --json prints
 * @throws LabelmillError; whatever `signal` was aborted with, when it was
 */
export async function label(request: LabelRequest, world: LabelWorld, signal: AbortSignal): Promise<Labeled> {
  const { config, terminal, log } = world;
  await using open = new AsyncDisposableStack();
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const out = asPrefix(request.out ?? defaultOut(request.inputs[0]!));
  if (request.detach && !config.redisUrl)
    throw new LabelmillError("USAGE", "--detach leaves the work to the workers of a lasting Redis: set REDIS_URL");
  const workers = config.redisUrl ? await readWorkers({ url: config.redisUrl }) : undefined;
  // A model may have to be pulled first: what is wrong with the inputs is told before.
  const roots = await rootsOf(request);
  const sources = await openSources(request, world.stdin, s3, workers !== undefined && !request.sharedFiles);
  // Workers elsewhere have devices of their own.
  const devices = config.redisUrl && !request.withWorker ? undefined : await ownDevices(config);
  const choice = new ModelChoice(await openModels(config, { on: devices }), new PullBar(terminal), signal);
  const { kind, withWorker, queueAnyway = false } = request;
  const model = await choice.choose(kind, request.model, withWorker ? undefined : workers, queueAnyway);
  if (!request.model) terminal.say(`No --model: taking ${model.pin.id}`);
  if (workers) await checkRemote(request, workers, model, out, roots);
  const store = await openOut(out, s3);
  const lock = open.use(await lockOut(out, store, s3));
  const opened = await openOutput(store, plannedRun(request, config, model, sources));
  if (opened.kind === "finished") {
    terminal.say(`${showPlace(store.uri)} is finished already (run ${opened.runFile.run}): nothing to do`);
    return tell(terminal, { store, manifest: opened.manifest, seconds: undefined, sample: request.sample });
  }
  const { runFile } = opened;
  terminal.say(
    opened.kind === "new"
      ? `Run ${runFile.run}: ${model.pin.id}, results to ${showPlace(store.uri)}`
      : `Taking up run ${runFile.run} in ${showPlace(store.uri)}: parts that are there stand`,
  );
  const startedAt = performance.now();
  const progress = new ProgressBar(terminal);
  const { sliceItems, sliceBytes } = runFile.spec;
  const state = await runSession(
    {
      ...world,
      ...(devices ? { model: model.files!, devices } : {}),
      s3,
      store,
      runFile,
      lane: request.lane,
      detach: request.detach === true,
      slices: () => cutSlices(sources, { size: { items: sliceItems, bytes: sliceBytes } }),
      roots,
      onProgress: (now) => progress.show(now),
      say: (line) => terminal.say(line),
    },
    AbortSignal.any([signal, lock.lost]),
  ).finally(() => progress.end());
  log.debug({ run: runFile.run, state }, "run ended");
  const seconds = (performance.now() - startedAt) / 1000;
  if (request.detach && (state === "running" || state === "finalizing"))
    return left(terminal, runFile.run, store.uri, state);
  if (state === "cancelled") return cancelled(terminal, runFile.run, store.uri);
  const manifest = await readManifest(store);
  if (!manifest) throw new LabelmillError("INTERNAL", `run ${runFile.run} ended as ${state} without a manifest`);
  return tell(terminal, { store, manifest, seconds, sample: request.sample });
}

async function tell(terminal: Terminal, of: Report): Promise<Labeled> {
  if (!terminal.json) await report(terminal, of);
  return { code: exitCode(of.manifest.state), summary: summarize(of) };
}

function left(terminal: Terminal, run: string, out: string, state: RunState): Labeled {
  terminal.print(`All slices of run ${run} are queued; its workers do the rest. See: labelmill status ${run}`);
  return { code: EXIT.labeled, summary: { run, state, out, detached: true } };
}

function cancelled(terminal: Terminal, run: string, out: string): Labeled {
  terminal.print(
    `Run ${run} was cancelled: the parts in ${showPlace(out)} stand, and the same command takes it up again`,
  );
  return { code: EXIT.failed, summary: { run, state: "cancelled", out } };
}

export function exitCode(state: RunState): number {
  if (state === "succeeded") return EXIT.labeled;
  return state === "finished_with_errors" ? EXIT.someInError : EXIT.failed;
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
  const files = [...(isS3(out) ? [] : [resolve(out)]), ...(sharedFiles ? roots.files : [])];
  const places = [...(isS3(out) ? [out] : []), ...roots.s3, ...files.map((path) => pathToFileURL(path).href)];
  await checkWorkers(workers, model.pin, places);
}

type Roots = { files: string[]; s3: string[] };

/** What the workers have to open: of texts nothing, since they travel in the jobs. */
async function rootsOf({ kind, inputs }: LabelRequest): Promise<Roots> {
  if (kind === "text") return { files: [], s3: [] };
  const s3 = inputs.filter(isS3).flatMap(s3GrantsOf);
  const files = await Promise.all(inputs.filter((input) => !isS3(input)).map(grantsOf));
  return { files: files.flat(), s3 };
}

async function openSources(
  { kind, inputs, read }: LabelRequest,
  stdin: Readable,
  s3: S3,
  remote: boolean,
): Promise<Source[]> {
  if (inputs.filter((input) => input === "-").length > 1)
    throw new LabelmillError("USAGE", "standard input (-) can be read once only");
  if (kind === "text") return openTextSources(await expandInputs(inputs, s3), read, stdin, s3);
  return openInputs(inputs, async (input) => {
    const source = await openImageSource(input === "-" ? { stdin } : input, read, s3);
    return remote ? withoutLocalImages(source) : source;
  });
}

function plannedRun(request: LabelRequest, config: Config, model: ChosenModel, sources: readonly Source[]): RunFile {
  return newRunFile({
    spec: {
      model: model.pin,
      read: request.read,
      topK: Math.min(request.topK, model.labels),
      sliceItems: config.sliceItems ?? DEFAULT_SLICE_ITEMS,
      sliceBytes: config.sliceBytes,
      events: config.events,
    },
    settings: { lane: request.lane },
    inputs: sources,
  });
}
