import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { existingJobs } from "../../../src/runs/queues/job-states.ts";
import { planJobId } from "../../../src/runs/queues/plan-queue.ts";
import { PLANS_QUEUE } from "../../../src/schemas/names.ts";
import { collected, MODEL, openAccepting } from "../../helpers/runs/accepting.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";

/** A run whose `_run.json` is in its output, and that Redis does not know. */
async function claimedRun(pipeline: TestPipeline) {
  const path = await writeTexts(join(pipeline.folder, "in.csv"), 120);
  const request = { kind: "text" as const, path, model: MODEL, out: "labels/run", travels: "split" as const };
  const { store, runFile } = await pipeline.submit(request, { sliceItems: 50 });
  const redis = await pipeline.connection();
  await redis.flushall();
  return { store, run: runFile.run, redis };
}

test("an accepted run is planned again after Redis lost it, and its record is removed at the end", async () => {
  await using pipeline = await TestPipeline.open();
  const { store, run, redis } = await claimedRun(pipeline);
  {
    await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
    await accepting.accepter.acceptPlan({ run, output: store.uri, owner: "k" });
    assert.equal((await accepting.index.get(run))?.kind, "run");
  }
  await redis.flushall();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal, index } = accepting;
  const signal = new AbortController().signal;
  assert.deepEqual(await accepter.replay(signal), { queued: 1, settled: 0 });
  assert.deepEqual(await accepter.replay(signal), { queued: 0, settled: 0 });
  assert.deepEqual(
    (await index.list({ owner: "k", limit: 10 })).runs.map((each) => [each.run, each.kind, each.output]),
    [[run, "run", store.uri]],
  );
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  assert.equal(await pipeline.ended(run), "succeeded");
  assert.deepEqual(await accepter.replay(signal), { queued: 0, settled: 1 });
  assert.deepEqual(await collected(journal.runs()), []);
  const { ok, totals } = await verifyOutput(store);
  assert.deepEqual([ok, totals.labeled], [true, 120]);
});

test("an accepted run that ended before Redis was emptied is not planned again", async () => {
  await using pipeline = await TestPipeline.open();
  const { store, run, redis } = await claimedRun(pipeline);
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  await accepting.accepter.acceptPlan({ run, output: store.uri, owner: "k" });
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  assert.equal(await pipeline.ended(run), "succeeded");
  // A planner that still watches the run would begin it again.
  while ((await existingJobs(redis, PLANS_QUEUE, [planJobId(run)])).size > 0) await setImmediate();
  await redis.flushall();
  assert.deepEqual(await accepting.accepter.replay(new AbortController().signal), { queued: 0, settled: 1 });
  assert.equal(await new RunLedger(redis).state(run), undefined);
});

test("a cancelled run stays cancelled after Redis lost it", async () => {
  await using pipeline = await TestPipeline.open();
  const { store, run, redis } = await claimedRun(pipeline);
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  await accepter.acceptPlan({ run, output: store.uri, owner: "k" });
  await new RunLedger(redis).cancel(run);
  const deadline = performance.now() + 10_000;
  while ((await collected(journal.runs())).length > 0) {
    assert.ok(performance.now() < deadline, "the record is left");
    await setImmediate();
  }
  await redis.flushall();
  assert.deepEqual(await accepter.replay(new AbortController().signal), { queued: 0, settled: 0 });
});
