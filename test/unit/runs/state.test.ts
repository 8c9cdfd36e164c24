import assert from "node:assert/strict";
import { test } from "node:test";
import { endState, isEnded, mayFollow, statesBefore } from "../../../src/runs/state.ts";
import { RUN_STATES } from "../../../src/schemas/run.ts";
import { RUN_EDGES } from "../../helpers/runs/run-edges.ts";

for (const [from, to] of RUN_EDGES) test(`a run goes from ${from} to ${to}`, () => assert.ok(mayFollow(from, to)));

test("the state machine has no other edges", () => {
  const known = new Set(RUN_EDGES.map(([from, to]) => `${from}>${to}`));
  for (const from of RUN_STATES)
    for (const to of RUN_STATES)
      assert.equal(mayFollow(from, to), from === to || known.has(`${from}>${to}`), `${from} > ${to}`);
});

test("the states before a state are those that it may follow, including itself", () => {
  assert.deepEqual(statesBefore("finalizing"), ["running", "paused", "finalizing"]);
});

test("a run with a failed slice has failed, whatever its rows are", () => {
  assert.equal(endState({ errors: 0, failedSlices: 0 }), "succeeded");
  assert.equal(endState({ errors: 2, failedSlices: 0 }), "finished_with_errors");
  assert.equal(endState({ errors: 2, failedSlices: 1 }), "failed");
  assert.deepEqual(
    RUN_STATES.filter((state) => !isEnded(state)),
    ["planning", "running", "paused", "finalizing"],
  );
});
