import { LabelmillError } from "../../errors.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import { isEnded } from "../../runs/state.ts";
import type { RunChanges } from "../../runs/watch.ts";
import type { RunState } from "../../schemas/run.ts";
import type { Planner, SlicesFrom } from "./planner.ts";

export type Drive = {
  run: string;
  ledger: RunLedger;
  planner: Planner;
  changes: RunChanges;
  /** The run's slices; the same ones at each call. */
  slices: SlicesFrom;
  onProgress: (progress: Progress) => void;
  /** Settles when the error is that of a store that was out and is to be tried again; false: it is another error. */
  outlast?: (error: unknown, signal: AbortSignal) => Promise<boolean>;
  /** Leave when the last slice is queued: workers do the rest. */
  detach?: boolean;
};

/** Looks without any progress after which the queue is searched for slices that got lost. */
const PATIENCE = 3;

/**
 * Plans a run and stays with it to its end, or to the end of the plan: whoever watches a run adds again what is planned, unfinished and in no queue, and
 * plans it anew if Redis lost it (parts that stand are adopted).
 * @returns the run's end state; the state it was left in, if it is left
 * @throws the planner's error, or what `signal` was aborted with
 */
export async function driveRun(drive: Drive, signal: AbortSignal): Promise<RunState> {
  for (;;) {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    let planned = false;
    const planning = drive.planner.plan(drive.slices, drive.changes, either).then(() => {
      planned = true;
      drive.changes.notify();
    });
    const watching = watch(drive, () => planned, either);
    try {
      // The watcher ends before the planner only where the run was cancelled or stopped.
      return await Promise.race([watching, planning.then(() => watching)]);
    } catch (error) {
      const isUnknown = error instanceof LabelmillError && error.code === "RUN_UNKNOWN";
      const ended = isUnknown ? undefined : await outlast(drive, error, watching, either);
      if (ended) return ended;
    } finally {
      stop.abort();
      await Promise.allSettled([planning, watching]);
    }
  }
}

/**
 * Waits until the store that the error comes from is back, or the run has ended meanwhile.
 * @returns the run's end state; undefined where it goes on
 * @throws the error, where it is another one
 */
async function outlast(
  drive: Drive,
  error: unknown,
  watching: Promise<RunState>,
  signal: AbortSignal,
): Promise<RunState | undefined> {
  // A watcher that failed is begun anew when the store is back.
  const ended = watching.catch(() => new Promise<never>(() => {}));
  const back = (drive.outlast?.(error, signal) ?? Promise.resolve(false)).then((isBack) => {
    if (!isBack) throw error;
  });
  return (await Promise.race([ended, back])) ?? undefined;
}

async function watch(
  { run, ledger, planner, changes, slices, onProgress, detach }: Drive,
  isPlanned: () => boolean,
  signal: AbortSignal,
): Promise<RunState> {
  let state: RunState | undefined;
  let before = "";
  let idleLooks = 0;
  let wasPaused = false;
  await changes.until(async () => {
    // Asked before the look: what was planned by then cannot be missing, nor left in an earlier state.
    const planned = isPlanned();
    const { begun } = planner;
    const progress = await ledger.progress(run);
    if (!progress) {
      if (!planned) return false;
      throw new LabelmillError("RUN_UNKNOWN", `Redis lost the run ${run}`, { retryable: true });
    }
    onProgress(progress);
    state = progress.state;
    // What stood there before the planner began was another command's end.
    if (begun && (state === "cancelled" || isStopped(progress))) return true;
    const resumed = wasPaused && state !== "paused";
    wasPaused = state === "paused";
    // Whoever resumed it does this too, if nothing comes between.
    if (resumed) await ledger.promote(run);
    const now = JSON.stringify(progress);
    idleLooks = now === before && !wasPaused ? idleLooks + 1 : 0;
    before = now;
    if (idleLooks === PATIENCE) {
      idleLooks = 0;
      if (progress.committed + progress.failed === progress.slices) await planner.addFinalizer(signal);
      const lost = await planner.lostSlices(signal);
      if (lost.size > 0) await planner.requeue(lost, slices, signal);
    }
    return planned && (detach || isEnded(state));
  }, signal);
  return state!;
}

/**
 * It failed as a whole, not by some of its slices: too many rows in error, nothing but slices that fail, a store that refuses, or
 * it could not be closed.
 */
function isStopped({ state, reason }: Progress): boolean {
  return state === "failed" && reason !== undefined;
}
