import { openRedis } from "../redis/connect.ts";
import { Channels } from "../runs/channels.ts";
import { RunLedger } from "../runs/ledger.ts";
import type { Progress } from "../runs/ledger-hash.ts";
import { readManifest } from "../runs/output.ts";
import { isEnded } from "../runs/state.ts";
import { RunChanges } from "../runs/watch.ts";
import { openStore } from "../storage/open.ts";
import { unknownRun } from "./cancel.ts";
import { lastingRedis } from "./context.ts";
import { EXIT } from "./exit.ts";
import { inWatch } from "./interrupted.ts";
import { cancelled, exitCode, type Labeled, type LabelWorld, stopped } from "./label.ts";
import { ProgressBar } from "./progress.ts";
import { report, summarize } from "./report.ts";
import { s3Of } from "./s3.ts";
import type { Terminal } from "./terminal.ts";

const LABELS_SHOWN = 4;
const LOOK_EVERY_MS = 1_000;

/**
 * `labelmill run watch`: shows how a run goes, until it has ended. Interrupting it leaves the run alone.
 * @returns the exit code that `label` would have had
 * @throws LabelmillError RUN_UNKNOWN; whatever `signal` was aborted with
 */
export async function watchRun(run: string, world: LabelWorld, signal: AbortSignal): Promise<number> {
  const { config, terminal, interrupts, log } = world;
  let last: Progress | undefined;
  interrupts?.handle(inWatch(run, () => last));
  await using open = new AsyncDisposableStack();
  const redis = await openRedis(lastingRedis(config), "producer");
  open.defer(() => redis.disconnect());
  const subscriber = await openRedis(lastingRedis(config), "worker");
  open.defer(() => subscriber.disconnect());
  const ledger = new RunLedger(redis);
  const changes = await RunChanges.open(new Channels(subscriber), run, LOOK_EVERY_MS);
  open.defer(() => changes.close());
  log.debug({ run }, "watching");
  const bar = new ProgressBar(terminal);
  await changes
    .until(async () => {
      last = await ledger.progress(run);
      if (!last) throw unknownRun(run);
      bar.show(last, shownLabels((await ledger.counts(run)).labels));
      return isEnded(last.state);
    }, signal)
    .finally(() => bar.end());
  const { code, summary } = await endOf(run, last!, ledger, world);
  if (terminal.json) terminal.printJson(summary);
  return code;
}

async function endOf(
  run: string,
  { state, output, reason }: Progress,
  ledger: RunLedger,
  world: LabelWorld,
): Promise<Labeled> {
  const { config, terminal } = world;
  if (state === "cancelled") return cancelled(terminal, run, output);
  if (state === "failed" && reason)
    return stopped(terminal, run, output, { reason, firstErrors: await ledger.firstErrors(run) });
  const s3 = s3Of(config);
  try {
    const store = await openStore(output, s3);
    const manifest = await readManifest(store);
    if (manifest?.run !== run) return nothing(terminal, run, state, output);
    const of = { store, manifest, seconds: undefined, show: 0 };
    if (!terminal.json) await report(terminal, of);
    return { code: exitCode(state), summary: summarize(of) };
  } finally {
    s3.close();
  }
}

/** Another run has taken its place in the meantime. */
function nothing(terminal: Terminal, run: string, state: string, out: string): Labeled {
  terminal.print(`Run ${run} is ${state}; its output ${out} holds another by now`);
  return { code: EXIT.failed, summary: { run, state, out } };
}

function shownLabels(labels: Readonly<Record<string, number>>): string {
  const most = Object.entries(labels).sort((a, b) => b[1] - a[1]);
  const shown = most.slice(0, LABELS_SHOWN).map(([label, count]) => `${label} ${count}`);
  return [...shown, ...(most.length > LABELS_SHOWN ? ["…"] : [])].join(", ");
}
