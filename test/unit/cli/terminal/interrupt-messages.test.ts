import assert from "node:assert/strict";
import { test } from "node:test";
import { inLabel, inWatch, inWorker } from "../../../../src/cli/terminal/interrupt-messages.ts";
import { timeLeft } from "../../../../src/cli/terminal/progress.ts";
import { loadConfig } from "../../../../src/config.ts";
import type { Progress } from "../../../../src/runs/ledger/progress.ts";

const RUN = "0123456789abcdef";
const config = loadConfig({ flags: { graceMs: 7_000 } });

function progress(of: Partial<Progress>): Progress {
  const counts = { items: 100, rows: 50, committed: 5, failed: 0, errors: 0, bytes: 1, inferMs: 1 };
  return { output: "", model: { id: "m", digest: "d" }, lane: "bulk", state: "running", slices: 10, ...counts, ...of };
}

test("an interrupted command prints what happens to its run, and how to see it", () => {
  const linesFor = (of: Partial<Progress> | undefined) => {
    const latest = () => of && progress(of);
    return [inLabel(RUN, config, false, latest), inWatch(RUN, latest)].map(({ describe }) => describe());
  };
  for (const line of linesFor({}))
    assert.match(line, /continues in the workers \(see: labelmill run watch 0123456789abcdef\)$/);
  for (const line of linesFor({ state: "paused" }))
    assert.match(line, /is paused \(to continue: labelmill run resume 0123456789abcdef\)$/);
  const [planning] = linesFor({ slices: undefined, state: "planning" });
  assert.match(
    planning!,
    /^leaving run 0123456789abcdef before its planning is complete: .*the same command resumes the rest/,
  );
  assert.equal(linesFor(undefined)[0], planning);
  const own = inLabel(RUN, config, true, () => undefined);
  assert.deepEqual([own.describe(), own.graceMs], [inWorker(config).describe(), 7_000]);
  assert.match(own.describe(), /finishing the running slices for at most 7 s, then giving the rest back/);
});

test("a run that is paused, has ended, or is not planned completely has no time left", () => {
  assert.equal(timeLeft(progress({}), 10), "5.0 s left");
  assert.equal(timeLeft(progress({ state: "paused" }), 10), "");
  assert.equal(timeLeft(progress({ state: "cancelled" }), 10), "");
  assert.equal(timeLeft(progress({ slices: undefined }), 10), "");
  assert.equal(timeLeft(progress({}), 0), "");
});
