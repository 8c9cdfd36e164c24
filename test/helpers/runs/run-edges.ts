import type { RunState } from "../../../src/schemas/run.ts";

/** All edges of a run's state machine. A state may also follow itself. No other change is allowed. */
export const RUN_EDGES: readonly [RunState, RunState][] = [
  ["planning", "running"],
  ["planning", "paused"],
  ["planning", "failed"],
  ["planning", "cancelled"],
  ["running", "finalizing"],
  ["running", "planning"],
  ["running", "paused"],
  ["running", "failed"],
  ["running", "cancelled"],
  ["paused", "planning"],
  ["paused", "running"],
  ["paused", "finalizing"],
  ["paused", "failed"],
  ["paused", "cancelled"],
  ["finalizing", "succeeded"],
  ["finalizing", "finished_with_errors"],
  ["finalizing", "failed"],
  ["finalizing", "planning"],
  ["failed", "planning"],
  ["cancelled", "planning"],
];
