import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { RowError } from "../../../src/runs/ledger/ledger.ts";
import { KEY_PREFIX, STOPPED_CHANNEL } from "../../../src/schemas/names.ts";
import { RUN_STATES, type RunState } from "../../../src/schemas/run.ts";
import { ABOUT, openTestLedger, partOf } from "../../helpers/runs/ledger.ts";
import { RUN_EDGES } from "../../helpers/runs/run-edges.ts";

const { redis, ledger } = await openTestLedger();

const slice = (index: number, count: number) => ({ slice: index, ranges: [{ input: 0, first: index * 10, count }] });

async function newRun(maxErrors?: string): Promise<string> {
  const run = randomBytes(8).toString("hex");
  await ledger.begin(run, ABOUT, { maxErrors });
  return run;
}

/** Creates a run in a given state. */
async function runIn(state: RunState): Promise<string> {
  const run = await newRun();
  await redis.hset(`${KEY_PREFIX}:run:${run}`, "state", state);
  return run;
}

for (const from of RUN_STATES)
  for (const to of RUN_STATES) {
    const allowed = from === to || RUN_EDGES.some(([before, after]) => before === from && after === to);
    test(`Redis ${allowed ? "moves a run" : "refuses to move a run"} from ${from} to ${to}`, async () => {
      const run = await runIn(from);
      assert.equal(await ledger.transition(run, to), allowed);
      assert.equal(await ledger.state(run), allowed ? to : from);
    });
  }

test("a run can be paused and resumed while it is planned or labeled, and in no other state", async () => {
  for (const state of RUN_STATES) {
    const run = await runIn(state);
    const may = state === "planning" || state === "running" || state === "paused";
    assert.equal(await ledger.pause(run), may, `pause of one that is ${state}`);
    assert.equal(await ledger.state(run), may ? "paused" : state);
    assert.equal(await ledger.resume(run), may);
    assert.equal(await ledger.state(run), may ? "planning" : state);
  }
  const planned = await newRun();
  await ledger.plan(planned, [slice(0, 1)], 1);
  await ledger.planDone(planned, { slices: 1, items: 1 });
  await ledger.pause(planned);
  await ledger.resume(planned);
  assert.equal(await ledger.state(planned), "running");
  assert.equal(await ledger.resume(randomBytes(8).toString("hex")), false, "an unknown run");
});

test("a plan that ends while its run is paused leaves it paused, and its last slice closes it", async () => {
  const run = await newRun();
  await ledger.plan(run, [slice(0, 2)], 2);
  await ledger.pause(run);
  assert.equal(await ledger.planDone(run, { slices: 1, items: 2 }), false);
  assert.equal(await ledger.state(run), "paused");
  assert.deepEqual(await ledger.commit(run, 0, partOf(2)), { outcome: "committed", complete: true });
  assert.equal(await ledger.transition(run, "finalizing"), true);
});

test("a plan that ends after its run was cancelled changes nothing", async () => {
  const run = await newRun();
  await ledger.plan(run, [slice(0, 2)], 2);
  await ledger.commit(run, 0, partOf(2));
  await ledger.cancel(run);
  assert.equal(await ledger.planDone(run, { slices: 1, items: 2 }), false, "no process must close it");
  assert.equal(await ledger.state(run), "cancelled");
});

test("a planner that begins on a paused run leaves it paused", async () => {
  const run = await newRun();
  await ledger.pause(run);
  await ledger.begin(run, ABOUT);
  assert.equal(await ledger.state(run), "paused");
});

test("the place at which planning continues is noted with the slice, and given to the next planner", async () => {
  const run = await newRun();
  const next = { slice: 1, input: 0, items: 5, cursor: { record: 5, offset: 99 } };
  assert.equal(await ledger.plan(run, [slice(0, 5)], 5, next), "planning");
  assert.deepEqual(await ledger.begin(run, ABOUT), { isNew: false, planned: false, next });
  await ledger.planDone(run, { slices: 1, items: 5 });
  assert.deepEqual(await ledger.begin(run, ABOUT), { isNew: false, planned: true, next });
});

test("a submitted run is known before planning begins; a failed or cancelled one returns to planning, others stay as they are", async () => {
  const run = randomBytes(8).toString("hex");
  await ledger.submit(run, "memory:y");
  assert.deepEqual([await ledger.state(run), (await ledger.overview(run))!.output], ["planning", "memory:y"]);
  for (const state of RUN_STATES) {
    const other = await runIn(state);
    await ledger.submit(other, ABOUT.output);
    assert.equal(await ledger.state(other), state === "failed" || state === "cancelled" ? "planning" : state);
  }
});

test("with a maximum count of errors, one more error stops the run with the reason", async () => {
  const run = await newRun("3");
  await ledger.plan(run, [slice(0, 10), slice(1, 10), slice(2, 10)], 30);
  const stopped: string[] = [];
  const listener = redis.duplicate();
  await listener.connect();
  listener.on("message", (_channel, message) => stopped.push(message));
  await listener.subscribe(STOPPED_CHANNEL);
  await ledger.commit(run, 0, partOf(10, 3));
  assert.equal(await ledger.state(run), "planning");
  assert.deepEqual(await ledger.commit(run, 1, partOf(10, 1)), { outcome: "committed", complete: false });
  const { state, reason } = (await ledger.progress(run))!;
  assert.deepEqual([state, reason], ["failed", "TOO_MANY_ERRORS: 4 of 20 rows are in error; the maximum is 3"]);
  await listener.ping();
  assert.deepEqual(stopped, [run], "workers are notified once");
  listener.disconnect();
  // A slice that was running still counts, and changes no state.
  assert.equal((await ledger.commit(run, 2, partOf(10, 2))).outcome, "committed");
  assert.equal(await ledger.state(run), "failed");
  await ledger.begin(run, ABOUT, { maxErrors: "9" });
  assert.deepEqual([await ledger.state(run), (await ledger.progress(run))!.reason], ["planning", undefined]);
});

test("twenty consecutive permanent failures stop the run, unless they are its last slices", async () => {
  const failure = { code: "STORE_FAILED", message: "no space" };
  const run = await newRun();
  const slices = Array.from({ length: 42 }, (_, at) => slice(at, 1));
  await ledger.plan(run, slices, slices.length);
  for (let at = 0; at < 19; at++) await ledger.fail(run, at, failure);
  await ledger.commit(run, 19, partOf(1));
  for (let at = 20; at < 39; at++) await ledger.fail(run, at, failure);
  assert.equal(await ledger.state(run), "planning", "39 of 40 failed, but one was committed between");
  assert.deepEqual(await ledger.fail(run, 39, failure), { outcome: "failed", complete: false });
  const { state, reason } = (await ledger.progress(run))!;
  const expected =
    "TOO_MANY_FAILURES: 20 consecutive slices failed permanently, the last one with STORE_FAILED: no space";
  assert.deepEqual([state, reason], ["failed", expected]);
  await ledger.begin(run, ABOUT);
  await ledger.fail(run, 40, failure);
  assert.equal(await ledger.state(run), "planning", "resuming the run resets the count");

  const short = await newRun();
  await ledger.plan(short, slices.slice(0, 20), 20);
  await ledger.planDone(short, { slices: 20, items: 20 });
  for (let at = 0; at < 19; at++) await ledger.fail(short, at, failure);
  assert.deepEqual(await ledger.fail(short, 19, failure), { outcome: "failed", complete: true });
  assert.equal(await ledger.state(short), "running", "the manifest lists all failures");
});

test("a percentage of errors applies from 1,000 rows on, and when the run is complete", async () => {
  const large = await newRun("5%");
  await ledger.plan(large, [slice(0, 900), slice(1, 100), slice(2, 1)], 1001);
  await ledger.commit(large, 0, partOf(900, 50));
  assert.equal(await ledger.state(large), "planning", "50 of 900 is more than 5%, but there are too few rows");
  await ledger.commit(large, 1, partOf(100, 0));
  assert.equal(await ledger.state(large), "planning", "50 of 1,000 is not more than 5%");
  await ledger.commit(large, 2, partOf(1, 1));
  assert.match((await ledger.progress(large))!.reason!, /^TOO_MANY_ERRORS: 51 of 1001 .* 5%/);

  const small = await newRun("12.5%");
  await ledger.plan(small, [slice(0, 4), slice(1, 4)], 8);
  await ledger.commit(small, 0, partOf(4, 2));
  assert.equal(await ledger.planDone(small, { slices: 2, items: 8 }), false);
  assert.equal(await ledger.state(small), "running");
  assert.deepEqual(await ledger.commit(small, 1, partOf(4)), { outcome: "committed", complete: false });
  assert.match((await ledger.progress(small))!.reason!, /^TOO_MANY_ERRORS: 2 of 8/);

  const late = await newRun("1%");
  await ledger.plan(late, [slice(0, 4)], 4);
  await ledger.commit(late, 0, partOf(4, 1));
  assert.equal(await ledger.planDone(late, { slices: 1, items: 4 }), false, "the end of the plan completes the run");
  assert.equal(await ledger.state(late), "failed");
});

test("a slice adds its time on devices and its rows in error, up to ten, once", async () => {
  const run = await newRun();
  await ledger.plan(run, [slice(0, 9), slice(1, 9)], 18);
  const errors = (from: number, count: number): RowError[] =>
    Array.from({ length: count }, (_, i) => ({ uri: "file:///a", record: from + i, code: "X", message: "no" }));
  const labeling = { devices: { cpu: "why" }, inferMs: 12.5, firstErrors: errors(0, 7) };
  await ledger.commit(run, 0, partOf(9, 7), labeling);
  await ledger.commit(run, 0, partOf(9, 7), labeling);
  await ledger.commit(run, 1, partOf(9, 9), { inferMs: 0.25, firstErrors: errors(100, 9) });
  assert.deepEqual(await ledger.firstErrors(run), [...errors(0, 7), ...errors(100, 3)]);
  assert.equal((await ledger.progress(run))!.inferMs, 12.75);
  assert.deepEqual(await ledger.devices(run), { cpu: "why" });
  assert.deepEqual(await ledger.counts(run), { labels: { POSITIVE: 2 }, errorCodes: { EMPTY_TEXT: 16 } });
});

test("skipped inputs are noted with their slice, once per input however often the run is planned", async () => {
  const run = await newRun();
  const of = (count: number) => ({ count, reasons: [{ reason: "not-an-image" as const, count, names: ["a.txt"] }] });
  const first = { ...slice(0, 2), passedOver: [{ input: 0, report: of(3) }] };
  const second = {
    ...slice(1, 2),
    passedOver: [
      { input: 2, report: of(4) },
      { input: 10, report: of(5) },
    ],
  };
  for (let times = 0; times < 2; times++) {
    await ledger.begin(run, ABOUT);
    await ledger.plan(run, [first], 2);
    await ledger.plan(run, [second], 4);
  }
  assert.deepEqual(await ledger.passedOver(run), {
    count: 12,
    reasons: [{ reason: "not-an-image", count: 12, names: ["a.txt", "a.txt", "a.txt"] }],
  });
  assert.deepEqual(await ledger.passedOver(await newRun()), { count: 0, reasons: [] });
});
