import type { Readable } from "node:stream";
import type { Config } from "../../config.ts";
import { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { clearOutput } from "../../outputs/clear.ts";
import { readManifest } from "../../outputs/output.ts";
import { slicesOf } from "../../producers/planning/run-slices.ts";
import type { Progress } from "../../runs/ledger/hash.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { Lane } from "../../schemas/names.ts";
import type { OutputOptions } from "../../schemas/output.ts";
import type { RunFile, RunState } from "../../schemas/run.ts";
import { openOutages } from "../../workers/store-outages.ts";
import type { WorkerOptions } from "../../workers/worker.ts";
import { EXIT } from "../exit.ts";
import { inLabel } from "../terminal/interrupted.ts";
import type { Interrupts } from "../terminal/interrupts.ts";
import { ProgressBar } from "../terminal/progress.ts";
import { errorLines, type Report, report, showPlace, summarize } from "../terminal/report.ts";
import type { Terminal } from "../terminal/terminal.ts";
import type { LabelKind } from "./model-choice.ts";
import { prepareRun } from "./prepare.ts";
import { runSession, type Stopped } from "./session.ts";

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
  show: number;
  lane: Lane;
  /** The share of the records that are labeled, by a hash of each; none: all. */
  share?: number;
  /** Items to label at most: the first ones. */
  limit?: number;
  output?: OutputOptions;
  /** Rows in error that the run may have: a count, or a share such as `5%`. */
  maxErrors?: string;
  sliceTimeoutMs?: number;
  pricePerHour?: number;
  /** Replace what another run left in the output. */
  overwrite?: boolean;
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
  /** None: the command is not interrupted, or its caller handles that. */
  interrupts?: Pick<Interrupts, "handle" | "lastly" | "endStuck">;
  around?: WorkerOptions["around"];
  thread?: WorkerOptions["thread"];
};

export type Labeled = { code: number; summary: Record<string, unknown> };

/**
 * The main job: reads the inputs, labels every item, leaves an output that proves itself.
 * @returns the exit code, and what --json prints
 * @throws LabelmillError; whatever `signal` was aborted with, when it was
 */
export async function label(request: LabelRequest, world: LabelWorld, signal: AbortSignal): Promise<Labeled> {
  const { config, terminal, log } = world;
  if (request.detach && !config.redisUrl)
    throw new LabelmillError("USAGE", "--detach leaves the work to the workers of a lasting Redis: set REDIS_URL");
  await using open = new AsyncDisposableStack();
  world.interrupts?.handle({ tell: () => "stopping: nothing is queued yet" });
  const prepared = await prepareRun(request, world, open, signal);
  const { s3, store, lock, model, devices, inputs, roots, opened, claim } = prepared;
  signal.throwIfAborted();
  const { runFile } = opened;
  const { run } = runFile;
  if (opened.kind === "finished") {
    await claim();
    terminal.say(`${showPlace(store.uri)} is finished already (run ${run}): nothing to do`);
    return tell(terminal, { store, manifest: opened.manifest, seconds: undefined, show: request.show });
  }
  terminal.say(
    opened.kind !== "unfinished"
      ? `Run ${run}: ${model.pin.id}, results to ${showPlace(store.uri)}`
      : `Taking up run ${run} in ${showPlace(store.uri)}: parts that are there stand`,
  );
  const startedAt = performance.now();
  const progress = new ProgressBar(terminal);
  const outages = open.use(openOutages(s3, config, log));
  let latest: Progress | undefined;
  world.interrupts?.handle(inLabel(run, config, devices !== undefined, () => latest));
  const ended = await runSession(
    {
      ...world,
      ...(devices ? { model: model.files!, devices } : {}),
      s3,
      outages,
      store,
      runFile,
      claim,
      lane: request.lane,
      detach: request.detach === true,
      slices: slicesOf(runFile, inputs),
      roots,
      onProgress: (now) => {
        latest = now;
        progress.show(now);
      },
      say: (line) => terminal.say(line),
    },
    AbortSignal.any([signal, lock.lost]),
  )
    .catch(async (error: unknown) => {
      // Nothing was to be labeled: whoever asks for something else must not meet this run.
      const isNothing = error instanceof LabelmillError && error.code === "INPUT_EMPTY" && opened.kind !== "unfinished";
      if (isNothing) await clearOutput(store);
      throw error;
    })
    .finally(() => progress.end());
  const { state } = ended;
  log.debug({ run, state }, "run ended");
  const seconds = (performance.now() - startedAt) / 1000;
  if (request.detach && (state === "running" || state === "finalizing"))
    return left(terminal, runFile, store.uri, state);
  const { passedOver } = runFile;
  const unfinished = ({ code, summary }: Labeled): Labeled => ({ code, summary: { ...summary, passedOver } });
  if (state === "cancelled") return unfinished(cancelled(terminal, run, store.uri));
  if (ended.stopped) return unfinished(stopped(terminal, run, store.uri, ended.stopped));
  return outages.through(
    store.uri,
    async () => {
      const manifest = await readManifest(store);
      if (!manifest) throw new LabelmillError("INTERNAL", `run ${run} ended as ${state} without a manifest`);
      return tell(terminal, { store, manifest, seconds, show: request.show });
    },
    signal,
  );
}

async function tell(terminal: Terminal, of: Report): Promise<Labeled> {
  if (!terminal.json) await report(terminal, of);
  return { code: exitCode(of.manifest.state), summary: summarize(of) };
}

function left(terminal: Terminal, { run, passedOver }: RunFile, out: string, state: RunState): Labeled {
  terminal.print(`All slices of run ${run} are queued; its workers do the rest. See: labelmill status ${run}`);
  return { code: EXIT.labeled, summary: { run, state, out, detached: true, passedOver } };
}

export function cancelled(terminal: Terminal, run: string, out: string): Labeled {
  terminal.print(
    `Run ${run} was cancelled: the parts in ${showPlace(out)} stand, and the same command takes it up again`,
  );
  return { code: EXIT.failed, summary: { run, state: "cancelled", out } };
}

/** A run that was stopped, having more rows in error than it may have, slices that fail one after the other, or a plan that cannot be, and the first rows in error. */
export function stopped(
  terminal: Terminal,
  run: string,
  out: string,
  { reason, failure, failed, firstErrors }: Stopped,
): Labeled {
  terminal.print(terminal.style("red", `Run ${run} was stopped: ${reason}`));
  for (const line of errorLines(firstErrors)) terminal.print(line);
  const mend = reason.startsWith("TOO_MANY_ERRORS: ") ? "with a higher --max-errors " : "";
  // Of an input that is another now, or gone, the reason says what to do.
  const goesOn = /\b(INPUT_(CHANGED|NOT_FOUND)|MODEL_INVALID): /.test(reason)
    ? ""
    : `; the same command ${mend}goes on`;
  terminal.print(`The parts in ${showPlace(out)} stand${goesOn}`);
  return {
    code: EXIT.failed,
    summary: { run, state: "failed", out, reason, failure, failedSlices: failed, firstErrors },
  };
}

export function exitCode(state: RunState): number {
  if (state === "succeeded") return EXIT.labeled;
  return state === "finished_with_errors" ? EXIT.someInError : EXIT.failed;
}
