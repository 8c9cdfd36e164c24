import { randomBytes } from "node:crypto";
import { basename, resolve } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import { loadModel, type Model } from "../inference/model.ts";
import type { Logger } from "../logger.ts";
import { openOutput, readManifest } from "../runs/output.ts";
import { SCHEMA_VERSION } from "../schemas/names.ts";
import type { ReadOptions, RunFile, RunState, Spec } from "../schemas/run.ts";
import { SOFTWARE } from "../software.ts";
import { grantsOf, openImageSource } from "../sources/images.ts";
import { cutSlices } from "../sources/slices.ts";
import type { Source } from "../sources/source.ts";
import { openTextSource } from "../sources/text.ts";
import { FsStore } from "../storage/fs.ts";
import { lockOutput } from "../storage/output-lock.ts";
import type { WorkerOptions } from "../workers/worker.ts";
import { ProgressBar } from "./progress.ts";
import { type Report, report, showPlace, summarize } from "./report.ts";
import { runSession } from "./session.ts";
import type { Terminal } from "./terminal.ts";

export type LabelKind = "text" | "images";

/** What `labelmill label` was asked for. */
export type LabelRequest = {
  kind: LabelKind;
  inputs: readonly string[];
  read: ReadOptions;
  /** A built-in model's name or a folder; none: the built-in one of this kind. */
  model?: string;
  out?: string;
  topK: number;
  /** Rows shown at the end. */
  sample: number;
};

export type LabelWorld = {
  config: Config;
  environment: { path: string };
  stdin: Readable;
  terminal: Terminal;
  log: Logger;
  around?: WorkerOptions["around"];
};

export type Labeled = { code: number; summary: ReturnType<typeof summarize> };

export const EXIT = { labeled: 0, failed: 1, usage: 2, someInError: 3, interrupted: 130 } as const;

const BUILT_IN = { text: "tiny-sentiment", images: "tiny-image" } as const;
const BUILT_IN_DIR = fileURLToPath(new URL("../../models/", import.meta.url));

/**
 * The main job: reads the inputs, labels every item, leaves an output that proves itself.
 * @returns the exit code, and what --json prints
 * @throws LabelmillError; whatever `signal` was aborted with, when it was
 */
export async function label(request: LabelRequest, world: LabelWorld, signal: AbortSignal): Promise<Labeled> {
  const { config, terminal, log } = world;
  const model = await resolveModel(request, terminal);
  const sources = await openSources(request, world.stdin);
  const folder = resolve(request.out ?? defaultOut(request.inputs[0]!));
  const store = await FsStore.open(folder);
  await using lock = await lockOutput(folder);
  const opened = await openOutput(store, plannedRun(request, config, model, sources));
  if (opened.kind === "finished") {
    terminal.say(`${showPlace(store.uri)} is finished already (run ${opened.runFile.run}): nothing to do`);
    return tell(terminal, { store, manifest: opened.manifest, seconds: undefined, sample: request.sample });
  }
  const { runFile } = opened;
  terminal.say(
    opened.kind === "new"
      ? `Run ${runFile.run}: ${model.id}, results to ${showPlace(store.uri)}`
      : `Taking up run ${runFile.run} in ${showPlace(store.uri)}: parts that are there stand`,
  );
  const startedAt = performance.now();
  const progress = new ProgressBar(terminal);
  const { sliceItems, sliceBytes } = runFile.spec;
  const state = await runSession(
    {
      ...world,
      model,
      store,
      runFile,
      slices: () => cutSlices(sources, { items: sliceItems, bytes: sliceBytes }),
      roots: request.kind === "images" ? (await Promise.all(request.inputs.map(grantsOf))).flat() : [],
      onProgress: (now) => progress.show(now),
      say: (line) => terminal.say(line),
    },
    AbortSignal.any([signal, lock.lost]),
  ).finally(() => progress.end());
  log.debug({ run: runFile.run, state }, "run ended");
  const manifest = await readManifest(store);
  if (!manifest) throw new LabelmillError("INTERNAL", `run ${runFile.run} ended as ${state} without a manifest`);
  const seconds = (performance.now() - startedAt) / 1000;
  return tell(terminal, { store, manifest, seconds, sample: request.sample });
}

async function tell(terminal: Terminal, of: Report): Promise<Labeled> {
  if (!terminal.json) await report(terminal, of);
  return { code: exitCode(of.manifest.state), summary: summarize(of) };
}

export function exitCode(state: RunState): number {
  if (state === "succeeded") return EXIT.labeled;
  return state === "finished_with_errors" ? EXIT.someInError : EXIT.failed;
}

async function resolveModel(request: LabelRequest, terminal: Terminal): Promise<Model> {
  const model = await loadModel(request.model ?? BUILT_IN[request.kind], BUILT_IN_DIR);
  const wanted = request.kind === "text" ? "text-classification" : "image-classification";
  if (model.task !== wanted)
    throw new LabelmillError(
      "MODEL_INVALID",
      `label ${request.kind} needs a model for ${wanted}; ${model.id} is for ${model.task}`,
    );
  if (!request.model) terminal.say(`No --model: taking the built-in ${model.id}`);
  return model;
}

async function openSources({ kind, inputs, read }: LabelRequest, stdin: Readable): Promise<Source[]> {
  if (inputs.filter((input) => input === "-").length > 1)
    throw new LabelmillError("USAGE", "standard input (-) can be read once only");
  const open = kind === "text" ? openTextSource : openImageSource;
  const sources: Source[] = [];
  for (const input of inputs) sources.push(await open(input === "-" ? { stdin } : input, read));
  return sources;
}

function plannedRun(request: LabelRequest, config: Config, model: Model, sources: readonly Source[]): RunFile {
  const { id, revision, digest, dtype, task } = model;
  const spec: Spec = {
    model: { id, revision, digest, dtype, task },
    read: request.read,
    topK: Math.min(request.topK, model.labels.length),
    sliceItems: config.sliceItems,
    sliceBytes: config.sliceBytes,
    events: config.events,
  };
  return {
    schemaVersion: SCHEMA_VERSION,
    run: randomBytes(8).toString("hex"),
    createdAt: new Date().toISOString(),
    software: SOFTWARE,
    spec,
    inputs: sources.map(({ input, read: { format, delimiter, column } }) => ({
      ...input,
      read: { format, delimiter, column },
    })),
  };
}

/** `reviews.csv` → `reviews-labels` in the current folder. */
function defaultOut(input: string): string {
  const name = input === "-" ? "stdin" : basename(input).replace(/(\.[A-Za-z0-9]{1,5}){1,2}$/, "");
  const clean = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replaceAll(/^[.-]+|-+$/g, "");
  return `${clean || "output"}-labels`;
}
