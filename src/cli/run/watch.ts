import { LabelmillError } from "../../errors.ts";
import { readManifest } from "../../outputs/output.ts";
import { unknownRun } from "../../producers/runs/unknown-run.ts";
import { openRedis } from "../../redis/connect.ts";
import { unlessLost } from "../../redis/with-redis.ts";
import { Channels } from "../../runs/channels.ts";
import { type RowError, RunLedger } from "../../runs/ledger/ledger.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import { isEnded } from "../../runs/state.ts";
import { RunChanges } from "../../runs/watch.ts";
import { openToRead } from "../../storage/open.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { cancelled, exitCode, type Labeled, stopped } from "../label/outcome.ts";
import { s3Of } from "../s3.ts";
import { inWatch } from "../terminal/interrupt-messages.ts";
import { ProgressBar } from "../terminal/progress.ts";
import { sayOutages } from "../terminal/redis-outages.ts";
import { report, showPlace, summarize } from "../terminal/report.ts";
import type { Terminal } from "../terminal/terminal.ts";

const LABELS_SHOWN = 4;
const LOOK_EVERY_MS = 1_000;

/**
 * `labelmill run watch`: shows the progress of a run until it ends. An interrupt does not change the run.
 * @returns the exit code that `label` returns for such a run
 * @throws LabelmillError RUN_UNKNOWN; the reason of `signal` if it aborts
 */
export async function watchRun(run: string, context: CommandContext, signal: AbortSignal): Promise<number> {
  const { config, terminal, interrupts, log } = context;
  let last: Progress | undefined;
  interrupts?.handle(inWatch(run, () => last));
  await using open = new AsyncDisposableStack();
  const address = lastingRedis(config);
  const redis = await openRedis(address, "producer");
  open.defer(() => redis.disconnect());
  const subscriber = await openRedis(address, "worker");
  open.defer(() => subscriber.disconnect());
  sayOutages(redis, address, terminal, "trying again. The workers of the run do the same");
  const ledger = new RunLedger(redis);
  const changes = await RunChanges.open(new Channels(subscriber), run, LOOK_EVERY_MS);
  open.defer(() => changes.close());
  log.debug({ run }, "watching");
  const bar = new ProgressBar(terminal);
  await changes
    .until(async () => {
      const look = await unlessLost(redis, async () => ({
        progress: await ledger.progress(run),
        labels: (await ledger.counts(run)).labels,
      }));
      if (!look) return false;
      if (!look.progress) throw last ? forgottenRun(run, last) : unknownRun(run);
      last = look.progress;
      bar.show(last, shownLabels(look.labels));
      return isEnded(last.state);
    }, signal)
    .finally(() => bar.end());
  const firstErrors = (await unlessLost(redis, () => ledger.firstErrors(run))) ?? [];
  const { code, summary } = await endOf(run, last!, firstErrors, context);
  if (terminal.json) terminal.printJson(summary);
  return code;
}

async function endOf(
  run: string,
  { state, output, reason, failure, failed }: Progress,
  firstErrors: RowError[],
  context: CommandContext,
): Promise<Labeled> {
  const { config, terminal } = context;
  if (state === "cancelled") return cancelled(terminal, run, output);
  if (state === "failed" && reason) return stopped(terminal, run, output, { reason, failure, failed, firstErrors });
  const s3 = s3Of(config);
  try {
    const store = await openToRead(output, s3).catch(unlessAbsent);
    if (!store) return withoutManifest(terminal, run, state, output, "its output is not on this machine");
    const manifest = await readManifest(store);
    if (manifest?.run !== run)
      return withoutManifest(terminal, run, state, output, "its output belongs to another run now");
    const result = { store, manifest, seconds: undefined, show: 0 };
    if (!terminal.json) await report(terminal, result);
    return { code: exitCode(state), summary: summarize(result) };
  } finally {
    s3.close();
  }
}

/** Redis is back without the run. */
function forgottenRun(run: string, { output }: Progress): LabelmillError {
  return new LabelmillError(
    "RUN_UNKNOWN",
    `Redis has lost run ${run}, for example by a restart without persistence: the parts stay in ${output}, and the command that started the run resumes it`,
  );
}

/** Undefined for a folder of another machine, or a deleted one. */
function unlessAbsent(error: unknown): undefined {
  if (!(error instanceof LabelmillError) || error.code !== "STORE_NOT_FOUND") throw error;
}

/** Reports a run whose manifest cannot be read. */
function withoutManifest(terminal: Terminal, run: string, state: string, out: string, why: string): Labeled {
  terminal.print(`Run ${run} is ${state}; ${why}: ${showPlace(out)}`);
  return { code: EXIT.failed, summary: { run, state, out } };
}

function shownLabels(labels: Readonly<Record<string, number>>): string {
  const most = Object.entries(labels).sort((a, b) => b[1] - a[1]);
  const shown = most.slice(0, LABELS_SHOWN).map(([label, count]) => `${label} ${count}`);
  return [...shown, ...(most.length > LABELS_SHOWN ? ["…"] : [])].join(", ");
}
