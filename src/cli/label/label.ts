import { LabelmillError } from "../../errors.ts";
import { clearOutput } from "../../outputs/clear.ts";
import { readManifest } from "../../outputs/output.ts";
import { slicesOf } from "../../producers/planning/run-slices.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import type { RunFile, RunState } from "../../schemas/run.ts";
import type { Outages } from "../../storage/health/outages.ts";
import { openOutages } from "../../workers/outages/store-outages.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { inLabel } from "../terminal/interrupt-messages.ts";
import { ProgressBar } from "../terminal/progress.ts";
import { type Report, report, showPlace, summarize } from "../terminal/report.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { cancelled, exitCode, type Labeled, stopped } from "./outcome.ts";
import { type Prepared, prepareRun } from "./prepare-run.ts";
import type { LabelRequest } from "./request.ts";
import { runSession, type SessionEnd } from "./run-session.ts";

/**
 * The main command: reads the inputs, labels every item, and leaves an output that can be verified.
 * @returns the exit code, and what --json prints
 * @throws LabelmillError; the reason of `signal` if it aborts
 */
export async function label(request: LabelRequest, context: CommandContext, signal: AbortSignal): Promise<Labeled> {
  const { config, terminal } = context;
  if (request.detach && !config.redisUrl)
    throw new LabelmillError(
      "USAGE",
      "--detach leaves the work to the workers of a Redis server that keeps running: set REDIS_URL",
    );
  await using open = new AsyncDisposableStack();
  context.interrupts?.handle({ describe: () => "stopping: nothing is queued yet" });
  const prepared = await prepareRun(request, context, open, signal);
  const { store, opened, model, claim } = prepared;
  signal.throwIfAborted();
  const { run } = opened.runFile;
  if (opened.kind === "finished") {
    await claim();
    terminal.say(`${showPlace(store.uri)} is finished already (run ${run}): nothing to do`);
    return finished(terminal, { store, manifest: opened.manifest, seconds: undefined, show: request.show });
  }
  terminal.say(
    opened.kind !== "unfinished"
      ? `Run ${run}: ${model.pin.id}, results to ${showPlace(store.uri)}`
      : `Resuming run ${run} in ${showPlace(store.uri)}: its finished parts are kept`,
  );
  const startedAt = performance.now();
  const outages = open.use(openOutages(prepared.s3, config, context.log));
  const end = await drive(request, prepared, outages, context, signal);
  const seconds = (performance.now() - startedAt) / 1000;
  return outcomeOf(end, { request, prepared, outages, terminal, seconds, signal });
}

/** Plans and runs the slices, with the progress on the terminal. An output stays empty if its run has nothing to label. */
async function drive(
  request: LabelRequest,
  { s3, store, lock, model, inputs, roots, opened, claim }: Prepared,
  outages: Outages,
  context: CommandContext,
  signal: AbortSignal,
): Promise<SessionEnd> {
  const { config, terminal, log, interrupts } = context;
  const { runFile } = opened;
  const { devices } = model;
  const { run } = runFile;
  const progress = new ProgressBar(terminal);
  let latest: Progress | undefined;
  interrupts?.handle(inLabel(run, config, devices !== undefined, () => latest));
  const session = {
    ...context,
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
    onProgress: (now: Progress) => {
      latest = now;
      progress.show(now);
    },
    say: (line: string) => terminal.say(line),
  };
  try {
    const end = await runSession(session, AbortSignal.any([signal, lock.lost]));
    log.debug({ run, state: end.state }, "run ended");
    return end;
  } catch (error) {
    // The next command on this output may ask for another run.
    const isEmpty = error instanceof LabelmillError && error.code === "INPUT_EMPTY" && opened.kind !== "unfinished";
    if (isEmpty) await clearOutput(store);
    throw error;
  } finally {
    progress.end();
  }
}

type OutcomeContext = {
  request: LabelRequest;
  prepared: Prepared;
  outages: Outages;
  terminal: Terminal;
  seconds: number;
  signal: AbortSignal;
};

async function outcomeOf(
  { state, stopped: reason }: SessionEnd,
  { request, prepared, outages, terminal, seconds, signal }: OutcomeContext,
): Promise<Labeled> {
  const { store, opened } = prepared;
  const { run, passedOver } = opened.runFile;
  if (request.detach && (state === "running" || state === "finalizing"))
    return detached(terminal, opened.runFile, store.uri, state);
  const unfinished = ({ code, summary }: Labeled): Labeled => ({ code, summary: { ...summary, passedOver } });
  if (state === "cancelled") return unfinished(cancelled(terminal, run, store.uri));
  if (reason) return unfinished(stopped(terminal, run, store.uri, reason));
  return outages.retryAfterOutages(
    store.uri,
    async () => {
      const manifest = await readManifest(store);
      if (!manifest) throw new LabelmillError("INTERNAL", `run ${run} ended as ${state} without a manifest`);
      return finished(terminal, { store, manifest, seconds, show: request.show });
    },
    signal,
  );
}

async function finished(terminal: Terminal, result: Report): Promise<Labeled> {
  if (!terminal.json) await report(terminal, result);
  return { code: exitCode(result.manifest.state), summary: summarize(result) };
}

function detached(terminal: Terminal, { run, passedOver }: RunFile, out: string, state: RunState): Labeled {
  terminal.print(`All slices of run ${run} are queued, and the workers label them. See: labelmill status ${run}`);
  return { code: EXIT.ok, summary: { run, state, out, detached: true, passedOver } };
}
