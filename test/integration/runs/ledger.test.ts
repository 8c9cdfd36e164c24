import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { ABOUT, openTestLedger, partOf } from "../../helpers/runs/ledger.ts";

const { redis, ledger } = await openTestLedger();

const newRun = () => randomBytes(8).toString("hex");
const slice = (index: number, count: number) => ({ slice: index, ranges: [{ input: 0, first: index * 10, count }] });

test("a slice is counted once, however often it is committed", async () => {
  const run = newRun();
  await ledger.begin(run, ABOUT);
  await ledger.plan(run, [slice(0, 10), slice(1, 5)], 15);
  assert.deepEqual(await ledger.commit(run, 0, partOf(10, 2)), { outcome: "committed", complete: false });
  assert.deepEqual(await ledger.commit(run, 0, partOf(10, 2)), { outcome: "again", complete: false });
  assert.equal(await ledger.planDone(run, { slices: 2, items: 15 }), false);
  assert.deepEqual(await ledger.commit(run, 1, partOf(5)), { outcome: "committed", complete: true });
  assert.deepEqual(await ledger.commit(run, 1, partOf(5)), { outcome: "again", complete: true });
  const { state, slices, items, committed, failed, rows, errors, bytes } = (await ledger.progress(run))!;
  assert.deepEqual(
    { state, slices, items, committed, failed, rows, errors, bytes },
    { state: "running", slices: 2, items: 15, committed: 2, failed: 0, rows: 15, errors: 2, bytes: 150 },
  );
  assert.deepEqual(await ledger.counts(run), { labels: { POSITIVE: 13 }, errorCodes: { EMPTY_TEXT: 2 } });
  assert.deepEqual(await Array.fromAsync(ledger.slices(run, 2)), [
    { slice: 0, planned: [{ input: 0, first: 0, count: 10 }], receipt: partOf(10, 2).receipt },
    { slice: 1, planned: [{ input: 0, first: 10, count: 5 }], receipt: partOf(5).receipt },
  ]);
});

test("of ten concurrent commits of a slice, one counts", async () => {
  const run = newRun();
  await ledger.begin(run, ABOUT);
  await ledger.plan(run, [slice(0, 3)], 3);
  const ends = await Promise.all(Array.from({ length: 10 }, () => ledger.commit(run, 0, partOf(3))));
  assert.equal(ends.filter(({ outcome }) => outcome === "committed").length, 1);
  assert.equal((await ledger.progress(run))!.rows, 3);
});

test("a slice that failed permanently stays failed until the run is planned again", async () => {
  const run = newRun();
  await ledger.begin(run, ABOUT);
  await ledger.plan(run, [slice(0, 3)], 3);
  assert.equal(await ledger.planDone(run, { slices: 1, items: 3 }), false);
  const reason = { code: "STORE_FAILED", message: "full" };
  assert.deepEqual(await ledger.fail(run, 0, reason), { outcome: "failed", complete: true });
  assert.deepEqual(await ledger.fail(run, 0, reason), { outcome: "failed", complete: true });
  assert.equal((await ledger.progress(run))!.failed, 1);
  assert.deepEqual(await ledger.commit(run, 0, partOf(3)), { outcome: "failed", complete: true });
  assert.deepEqual((await Array.fromAsync(ledger.slices(run, 1)))[0]!.failed, reason);
  await ledger.begin(run, ABOUT);
  assert.deepEqual(await ledger.commit(run, 0, partOf(3)), { outcome: "committed", complete: false });
  assert.deepEqual(await ledger.fail(run, 0, reason), { outcome: "committed", complete: false });
});

test("a slice that was never planned, or of an unknown run, changes nothing", async () => {
  const run = newRun();
  assert.deepEqual(await ledger.commit(run, 0, partOf(1)), { outcome: "unknown", complete: false });
  assert.deepEqual(await ledger.fail(run, 0, { code: "X", message: "" }), { outcome: "unknown", complete: false });
  assert.equal(await ledger.progress(run), undefined);
  await ledger.begin(run, ABOUT);
  assert.deepEqual(await ledger.commit(run, 9, partOf(1)), { outcome: "unplanned", complete: false });
  assert.equal((await ledger.progress(run))!.rows, 0);
});

test("states change only along the edges of the state machine", async () => {
  const run = newRun();
  await ledger.begin(run, ABOUT);
  assert.equal(await ledger.transition(run, "finalizing"), false);
  await ledger.plan(run, [slice(0, 1)], 1);
  await ledger.planDone(run, { slices: 1, items: 1 });
  assert.equal(await ledger.transition(run, "finalizing"), true);
  assert.equal(await ledger.transition(run, "finalizing"), true);
  assert.equal(await ledger.transition(run, "succeeded"), true);
  assert.equal(await ledger.transition(run, "failed"), false);
});

test("a retired run expires after a day, unless it is planned again", async () => {
  const run = newRun();
  await ledger.begin(run, ABOUT);
  await ledger.plan(run, [slice(0, 1)], 1);
  await ledger.retire(run);
  const keys = await redis.keys(`*${run}*`);
  assert.ok(keys.length > 1);
  for (const key of keys) assert.ok((await redis.ttl(key)) > 80_000, key);
  await ledger.begin(run, ABOUT);
  for (const key of keys) assert.equal(await redis.ttl(key), -1, key);
});

test("all keys of a run have the hash tag of the project", async () => {
  for (const key of await redis.keys("*")) assert.match(key, /^\{labelmill\}:runs?(:|$)/);
});
