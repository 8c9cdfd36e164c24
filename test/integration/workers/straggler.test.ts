import assert from "node:assert/strict";
import { test } from "node:test";
import { measureStraggling } from "../../helpers/runs/straggler.ts";

test("three workers, one of them late: no worker has slices left while the others are idle", async () => {
  const { sliceMs, straggledMs, slices } = await measureStraggling({
    slices: 18,
    sliceItems: 520,
    msPerItem: 5,
    lateMs: 4000,
  });
  // A worker that takes slices ahead straggles for several. The bench has the exact goal.
  assert.ok(straggledMs <= 2 * sliceMs, `${straggledMs} ms of straggling, ${sliceMs} ms a slice; ${slices}`);
  assert.equal(slices.length, 3);
  for (const count of slices) assert.ok(count >= 2, `${slices}`);
});
