import { LabelmillError } from "../../errors.ts";
import { clearOutput } from "../../outputs/clear.ts";
import { readManifest } from "../../outputs/output.ts";
import { slicesOf } from "../../producers/planning/run-slices.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import type { RunFile, RunState } from "../../schemas/run.ts";
import { openOutages } from "../../workers/outages/store-outages.ts";
import type { LabelWorld } from "../context.ts";
import { EXIT } from "../exit.ts";
import { inLabel } from "../terminal/interrupted.ts";
import { ProgressBar } from "../terminal/progress.ts";
import { type Report, report, showPlace, summarize } from "../terminal/report.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { cancelled, exitCode, type Labeled, stopped } from "./outcome.ts";
import { prepareRun } from "./prepare.ts";
import type { LabelRequest } from "./request.ts";
import { runSession } from "./session.ts";

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
