import { LabelmillError } from "../../errors.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import { isEnded } from "../../runs/state.ts";
import type { RunChanges } from "../../runs/watch.ts";
import type { RunState } from "../../schemas/run.ts";
import type { Planner, SlicesFrom } from "./planner.ts";

/** A run, and what plans and watches it. */
export type RunContext = {
  run: string;
  ledger: RunLedger;
  planner: Planner;
  changes: RunChanges;
  /** The run's slices, the same at each call. */
  slices: SlicesFrom;
  onProgress: (progress: Progress) => void;
  /** Waits until the store that caused the error is available again. Resolves to false if the error has another cause. */
  waitForStore?: (error: unknown, signal: AbortSignal) => Promise<boolean>;
  /** Return when the last slice is queued. Workers finish the run. */
  detach?: boolean;
};

/** Checks without progress before the queue is searched for lost slices. */
const CHECKS_WITHOUT_PROGRESS = 3;

/**
 * Plans a run and watches it until it ends, or with `detach` until it is planned. Queues slices again that are planned and unfinished but
 * in no queue. Plans the run again if Redis lost it; workers then adopt the parts that exist.
 * @returns the run's end state, or with `detach` its state when the plan is complete
 * @throws the planner's error, or the abort reason of `signal`
 */
export async function planAndWatch(context: RunContext, signal: AbortSignal): Promise<RunState> {
  for (;;) {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    let planned = false;
    const planning = context.planner.plan(context.slices, context.changes, either).then(() => {
      planned = true;
      context.changes.notify();
    });
    const watching = watch(context, () => planned, either);
    try {
      // The watcher ends before the planner only if the run was cancelled or stopped.
      return await Promise.race([watching, planning.then(() => watching)]);
    } catch (error) {
      const isUnknown = error instanceof LabelmillError && error.code === "RUN_UNKNOWN";
      const ended = isUnknown ? undefined : await outlast(context, error, watching, either);
      if (ended) return ended;
    } finally {
      stop.abort();
      await Promise.allSettled([planning, watching]);
    }
  }
}

/**
 * Waits until the store that caused the error is available again, or the run has ended.
 * @returns the run's end state, or undefined if the run continues
 * @throws the error, if it has another cause
 */
async function outlast(
  context: RunContext,
  error: unknown,
  watching: Promise<RunState>,
  signal: AbortSignal,
): Promise<RunState | undefined> {
  // If the watcher failed, it starts again when the store is available.
  const ended = watching.catch(() => new Promise<never>(() => {}));
  const back = (context.waitForStore?.(error, signal) ?? Promise.resolve(false)).then((isBack) => {
    if (!isBack) throw error;
  });
  return (await Promise.race([ended, back])) ?? undefined;
}

async function watch(
  { run, ledger, planner, changes, slices, onProgress, detach }: RunContext,
  isPlanned: () => boolean,
  signal: AbortSignal,
): Promise<RunState> {
  let state: RunState | undefined;
  let before = "";
  let idleChecks = 0;
  let wasPaused = false;
  await changes.until(async () => {
    // Read before the progress: if the plan is complete now, the run must be known, and in a later state.
    const planned = isPlanned();
    const { begun } = planner;
    const progress = await ledger.progress(run);
    if (!progress) {
      if (!planned) return false;
      throw new LabelmillError("RUN_UNKNOWN", `Redis lost the run ${run}`, { retryable: true });
    }
    onProgress(progress);
    state = progress.state;
    // Until the planner has begun, the state is that of an earlier command.
    if (begun && (state === "cancelled" || isStopped(progress))) return true;
    const resumed = wasPaused && state !== "paused";
    wasPaused = state === "paused";
    // The process that resumed the run does this too, unless it dies first.
    if (resumed) await ledger.promote(run);
    const now = JSON.stringify(progress);
    idleChecks = now === before && !wasPaused ? idleChecks + 1 : 0;
    before = now;
    if (idleChecks === CHECKS_WITHOUT_PROGRESS) {
      idleChecks = 0;
      if (progress.committed + progress.failed === progress.slices) await planner.addFinalizer(signal);
      const lost = await planner.lostSlices(signal);
      if (lost.size > 0) await planner.requeue(lost, slices, signal);
    }
    return planned && (detach || isEnded(state));
  }, signal);
  return state!;
}

/**
 * Whether the run failed as a whole, not only some of its slices: too many rows in error, too many consecutive failures, a store that
 * refuses writes, or a failed finalizer.
 */
function isStopped({ state, reason }: Progress): boolean {
  return state === "failed" && reason !== undefined;
}
