import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { runKeys } from "../../../src/runs/ledger/keys.ts";
import { ABOUT, openTestLedger, partOf } from "../../helpers/runs/ledger.ts";

const { redis, ledger } = await openTestLedger();

const newRun = () => randomBytes(8).toString("hex");
const slice = (index: number, count: number) => ({ slice: index, ranges: [{ input: 0, first: index * 10, count }] });

/** Names that JSON, Lua or a JavaScript object could change: keys of prototypes, numbers, NUL, invalid UTF-16. */
const name = fc.oneof(
  fc.constantFrom("__proto__", "constructor", "", "0", "1e3", "null", "\0", '"\\u0041', "\ud800", "\udfff", "é\u2028"),
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 4 }).map((units) => String.fromCharCode(...units)),
);
const count = fc.oneof(fc.nat({ max: 1000 }), fc.maxSafeNat());
const counts = fc.uniqueArray(fc.tuple(name, count), { selector: ([key]) => key, maxLength: 8 });
const commit = fc.record({
  slice: fc.nat({ max: 5 }),
  rows: count,
  errors: count,
  bytes: count,
  inferMicros: fc.nat({ max: 100_000_000 }),
  labels: counts,
  codes: counts,
  devices: fc.uniqueArray(fc.tuple(name, name), { selector: ([key]) => key, maxLength: 3 }),
});

const recordOf = <T>(entries: readonly [string, T][]): Record<string, T> => Object.fromEntries(entries);
const sorted = (record: Record<string, unknown>) => Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));

test("the counters of a run are the exact sums of its commits, whatever the names and however large the counts", async () => {
  const property = fc.asyncProperty(fc.array(commit, { maxLength: 12 }), async (commits) => {
    const run = newRun();
    await ledger.begin(run, ABOUT);
    await ledger.plan(
      run,
      Array.from({ length: 6 }, (_, index) => slice(index, 1)),
      6,
    );
    const done = new Set<number>();
    const sums = { labels: new Map<string, bigint>(), codes: new Map<string, bigint>(), devices: new Map() };
    const totals = { rows: 0n, errors: 0n, bytes: 0n, inferMicros: 0 };
    for (const { slice: index, rows, errors, bytes, inferMicros, labels, codes, devices } of commits) {
      const receipt = { rows, errors, bytes, sha256: "ab".repeat(32) };
      const committed = { receipt, labels: recordOf(labels), errorCodes: recordOf(codes) };
      const labeling = { devices: recordOf(devices), inferMs: inferMicros / 1000 };
      const { outcome } = await ledger.commit(run, index, committed, labeling);
      assert.equal(outcome, done.has(index) ? "again" : "committed");
      if (done.has(index)) continue;
      done.add(index);
      for (const [sum, added] of [[sums.labels, labels] as const, [sums.codes, codes] as const])
        for (const [key, value] of added)
          sum.set(key.toWellFormed(), (sum.get(key.toWellFormed()) ?? 0n) + BigInt(value));
      for (const [key, why] of devices)
        if (!sums.devices.has(key.toWellFormed())) sums.devices.set(key.toWellFormed(), why.toWellFormed());
      totals.rows += BigInt(rows);
      totals.errors += BigInt(errors);
      totals.bytes += BigInt(bytes);
      totals.inferMicros += inferMicros;
    }
    const keys = runKeys(run);
    const found = await redis.hgetall(keys.run);
    assert.deepEqual(
      [found.committed, found.rows, found.errors, found.bytes, Math.round(Number(found.inferMs) * 1000)],
      [...[done.size, totals.rows, totals.errors, totals.bytes].map(String), totals.inferMicros],
    );
    for (const part of ["labels", "codes", "devices"] as const) {
      const expected = Object.fromEntries([...sums[part]].map(([key, value]) => [key, String(value)]));
      assert.deepEqual(sorted(await redis.hgetall(keys[part])), sorted(expected), part);
    }
  });
  await fc.assert(property, { numRuns: 150 });
});

test("a failure with invalid UTF-16 in its message is stored, and stops the run after 20 in a row", async () => {
  const run = newRun();
  const failure = { code: "STORE_FAILED", message: "no \ud800 space" };
  await ledger.begin(run, ABOUT);
  await ledger.plan(
    run,
    Array.from({ length: 21 }, (_, index) => slice(index, 1)),
    21,
  );
  for (let index = 0; index < 20; index++) await ledger.fail(run, index, failure);
  const { state, reason } = (await ledger.progress(run))!;
  assert.equal(state, "failed");
  assert.ok(reason!.endsWith("STORE_FAILED: no \ufffd space"), reason);
  assert.deepEqual((await Array.fromAsync(ledger.slices(run, 1)))[0]!.failed, failure);
});

/** A stored run, in the present format: two slices are committed, one failed, one is open. */
function storedRun(run: string): Record<string, Record<string, string>> {
  const key = `{labelmill}:run:${run}`;
  return {
    [key]: {
      ...{ state: "running", output: "memory:x", model: "m", digest: "0".repeat(64), lane: "bulk", maxErrors: "" },
      ...{ createdAt: "2026-01-02T03:04:05.678Z", begunAt: "1767323045", begunRows: "0" },
      ...{ planDone: "1", slices: "4", items: "31", next: '{"slice":4,"input":0,"items":31}' },
      ...{ committed: "2", failed: "1", failedInRow: "1", rows: "20", errors: "2", bytes: "200", inferMs: "12.75" },
      firstFailure: '{"code":"STORE_FAILED","message":"full"}',
    },
    [`${key}:plan`]: { 0: "[[0,0,10]]", 1: "[[0,10,10]]", 2: "[[0,20,10]]", 3: "[[0,30,1]]" },
    [`${key}:receipts`]: {
      0: "10,2,100,q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s",
      1: "10,0,100,q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s",
    },
    [`${key}:failed`]: { 2: '{"code":"STORE_FAILED","message":"full"}' },
    [`${key}:labels`]: { POSITIVE: "18" },
    [`${key}:codes`]: { EMPTY_TEXT: "2" },
    [`${key}:devices`]: { cpu: "asked for" },
    [`${key}:passedOver`]: { 0: '{"count":3,"reasons":[{"reason":"not-an-image","count":3,"names":["a.txt"]}]}' },
  };
}
const FIRST_ERROR = { uri: "file:///a", record: 3, code: "EMPTY_TEXT", message: "no text" };

test("a ledger in the stored format is read, and a worker continues with it", async () => {
  const run = newRun();
  for (const [key, fields] of Object.entries(storedRun(run))) await redis.hset(key, fields);
  await redis.rpush(`{labelmill}:run:${run}:firstErrors`, JSON.stringify(FIRST_ERROR));
  const progress = (await ledger.progress(run))!;
  assert.deepEqual(progress, {
    ...{ state: "running", output: "memory:x", model: { id: "m", digest: "0".repeat(64) }, lane: "bulk" },
    ...{ slices: 4, items: 31, committed: 2, failed: 1, rows: 20, errors: 2, bytes: 200, inferMs: 12.75 },
    failure: { code: "STORE_FAILED", message: "full" },
  });
  assert.deepEqual(await ledger.counts(run), { labels: { POSITIVE: 18 }, errorCodes: { EMPTY_TEXT: 2 } });
  assert.deepEqual(await ledger.devices(run), { cpu: "asked for" });
  assert.deepEqual(await ledger.firstErrors(run), [FIRST_ERROR]);
  assert.equal((await ledger.passedOver(run)).count, 3);
  assert.deepEqual(
    (await Array.fromAsync(ledger.slices(run, 4))).map(({ receipt, failed }) => receipt?.rows ?? failed?.code),
    [10, 10, "STORE_FAILED", undefined],
  );
  assert.deepEqual(await ledger.commit(run, 0, partOf(10, 2)), { outcome: "again", complete: false });
  assert.deepEqual(await ledger.commit(run, 3, partOf(1)), { outcome: "committed", complete: true });
  assert.equal((await ledger.progress(run))!.rows, 21);
});

test("the ledger keeps its keys, fields and formats, so that a worker of the previous version can read it", async () => {
  const run = newRun();
  await ledger.begin(run, ABOUT);
  const passedOver = [
    {
      input: 0,
      report: { count: 3, reasons: [{ reason: "not-an-image" as const, count: 3, names: ["a.txt"] }] },
    },
  ];
  await ledger.plan(run, [{ ...slice(0, 10), passedOver }, slice(1, 10), slice(2, 10)], 30);
  await ledger.plan(run, [slice(3, 1)], 31, { slice: 4, input: 0, items: 31 });
  await ledger.commit(run, 0, partOf(10, 2), {
    devices: { cpu: "asked for" },
    inferMs: 12.5,
    firstErrors: [FIRST_ERROR],
  });
  await ledger.commit(run, 1, partOf(10), { inferMs: 0.25 });
  await ledger.fail(run, 2, { code: "STORE_FAILED", message: "full" });
  await ledger.planDone(run, { slices: 4, items: 31 });
  const expected = storedRun(run);
  const key = `{labelmill}:run:${run}`;
  for (const [each, fields] of Object.entries(expected)) {
    const found = await redis.hgetall(each);
    // The times come from the clock.
    if (each === key)
      for (const field of ["createdAt", "begunAt"]) {
        assert.match(found[field]!, field === "begunAt" ? /^\d{10}$/ : /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
        fields[field] = found[field]!;
      }
    assert.deepEqual(sorted(found), sorted(fields), each);
  }
  assert.deepEqual(await redis.lrange(`${key}:firstErrors`, 0, -1), [JSON.stringify(FIRST_ERROR)]);
  assert.deepEqual((await redis.keys(`*${run}*`)).sort(), [...Object.keys(expected), `${key}:firstErrors`].sort());
});
