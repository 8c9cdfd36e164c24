import assert from "node:assert/strict";
import { test } from "node:test";
import { endState, isEnded, mayFollow, statesBefore } from "../../src/runs/state.ts";
import { RUN_STATES, type RunState } from "../../src/schemas/run.ts";

/** Every edge there is. A state may also follow itself; nothing else is allowed. */
const EDGES: [RunState, RunState][] = [
  ["planning", "running"],
  ["planning", "failed"],
  ["planning", "cancelled"],
  ["planning", "paused"],
  ["running", "finalizing"],
  ["running", "paused"],
  ["running", "failed"],
  ["running", "planning"],
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

for (const [from, to] of EDGES) test(`a run goes from ${from} to ${to}`, () => assert.ok(mayFollow(from, to)));

test("no other edge is there", () => {
  const known = new Set(EDGES.map(([from, to]) => `${from}>${to}`));
  for (const from of RUN_STATES)
    for (const to of RUN_STATES)
      assert.equal(mayFollow(from, to), from === to || known.has(`${from}>${to}`), `${from} > ${to}`);
});

test("the states before one are those that it may follow, itself among them", () => {
  assert.deepEqual(statesBefore("finalizing"), ["running", "paused", "finalizing"]);
});

test("a run that lost a slice failed, whatever its rows say", () => {
  assert.equal(endState({ errors: 0, failedSlices: 0 }), "succeeded");
  assert.equal(endState({ errors: 2, failedSlices: 0 }), "finished_with_errors");
  assert.equal(endState({ errors: 2, failedSlices: 1 }), "failed");
  assert.deepEqual(
    RUN_STATES.filter((state) => !isEnded(state)),
    ["planning", "running", "paused", "finalizing"],
  );
});
