import { RUN_STATES, type RunState } from "../schemas/run.ts";

/** The state machine of a run: the states that may follow each state. A state may also follow itself: transitions are idempotent. */
const EDGES = {
  planning: ["running", "paused", "failed", "cancelled"],
  // Back to planning: the same command runs again on an unfinished output. Failed: too many rows in error.
  running: ["finalizing", "planning", "paused", "failed", "cancelled"],
  // To finalizing: the slices that were running may be the last ones.
  paused: ["planning", "running", "finalizing", "failed", "cancelled"],
  finalizing: ["succeeded", "finished_with_errors", "failed", "planning"],
  failed: ["planning"],
  cancelled: ["planning"],
  succeeded: [],
  finished_with_errors: [],
} as const satisfies Record<RunState, readonly RunState[]>;

export function mayFollow(from: RunState, to: RunState): boolean {
  return from === to || (EDGES[from] as readonly RunState[]).includes(to);
}

/** The states that may precede `to`, including `to`. */
export function statesBefore(to: RunState): RunState[] {
  return RUN_STATES.filter((from) => mayFollow(from, to));
}

/** Whether a run in this state has ended. A `failed` or `cancelled` run can be resumed. */
export function isEnded(state: RunState): boolean {
  return state === "succeeded" || state === "finished_with_errors" || state === "failed" || state === "cancelled";
}

/** The end state of a complete run. A failed slice outweighs rows in error. */
export function endState(totals: { errors: number; failedSlices: number }): RunState {
  if (totals.failedSlices > 0) return "failed";
  return totals.errors > 0 ? "finished_with_errors" : "succeeded";
}
