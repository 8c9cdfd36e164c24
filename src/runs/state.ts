import { RUN_STATES, type RunState } from "../schemas/run.ts";

/** The run's state machine: from each state, the states that may follow it. A state may also follow itself: each step is idempotent. */
const EDGES = {
  planning: ["running", "paused", "failed", "cancelled"],
  // Back to planning: the same command was run again on an unfinished output. Failed: too many rows in error.
  running: ["finalizing", "planning", "paused", "failed", "cancelled"],
  // The slices that were under way may have been the last ones.
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

/** The states from which `to` may be reached, itself among them. */
export function statesBefore(to: RunState): RunState[] {
  return RUN_STATES.filter((from) => mayFollow(from, to));
}

/** A run in this state has come to an end; `failed` and `cancelled` ones can be taken up again. */
export function isEnded(state: RunState): boolean {
  return state === "succeeded" || state === "finished_with_errors" || state === "failed" || state === "cancelled";
}

/** How a finished run ended: no label for a slice is worse than no label for an item. */
export function endState(totals: { errors: number; failedSlices: number }): RunState {
  if (totals.failedSlices > 0) return "failed";
  return totals.errors > 0 ? "finished_with_errors" : "succeeded";
}
