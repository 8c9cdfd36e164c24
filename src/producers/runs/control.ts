import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import { unknownRun } from "./unknown-run.ts";

/** What can be done with a run that has not ended. */
export type RunAction = "cancel" | "pause" | "resume";

/**
 * Cancels, pauses or resumes a run.
 * @returns `done`: whether the run was in a state that allows it; and its progress after that
 * @throws LabelmillError RUN_UNKNOWN if Redis does not know the run
 */
export async function controlRun(
  action: RunAction,
  run: string,
  ledger: RunLedger,
): Promise<{ done: boolean; progress: Progress }> {
  const done = await ledger[action](run);
  const progress = await ledger.progress(run);
  if (!progress) throw unknownRun(run);
  return { done, progress };
}
