import type { RunState } from "../../../src/schemas/run.ts";

/** Every edge of a run's state machine. A state may also follow itself; nothing else is allowed. */
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
