import assert from "node:assert/strict";
import { test } from "node:test";
import type { CrashRecord } from "../../../src/workers/crashes/crash-record.ts";
import {
  crashCount,
  MAX_UNBLAMED_CRASHES,
  NO_EVIDENCE,
  unblamedCrashCount,
} from "../../../src/workers/crashes/evidence.ts";

const NEVER = new AbortController().signal;

/** The tests that every crash record must pass. `restart` opens the record as a new process does after the last one died. */
export function crashRecordConformance(
  name: string,
  open: () => Promise<{ restart(): Promise<CrashRecord>; close(): Promise<void> }>,
): void {
  const ref = { run: "0123456789abcdef", slice: 7 };

  async function withRecord(run: (context: Awaited<ReturnType<typeof open>>) => Promise<void>): Promise<void> {
    const context = await open();
    try {
      await run(context);
    } finally {
      await context.close();
    }
  }

  test(`${name}: a slice that is taken for the first time has no evidence`, () =>
    withRecord(async ({ restart }) => {
      assert.deepEqual((await (await restart()).take(ref, false, NEVER)).evidence, NO_EVIDENCE);
    }));

  test(`${name}: crashes add up over processes, and the items that ran alone are recorded`, () =>
    withRecord(async ({ restart }) => {
      await (await restart()).take(ref, false, NEVER);
      await (await restart()).take(ref, true, NEVER);
      const third = await (await restart()).take(ref, true, NEVER);
      assert.equal(crashCount(third.evidence), 2);
      assert.deepEqual(
        third.evidence.crashes.map(({ at }) => at),
        [null, null],
      );
      await third.note([0, 3]);
      await third.note([3, 6]);
      const fourth = await (await restart()).take(ref, true, NEVER);
      assert.equal(crashCount(fourth.evidence), 3);
      assert.deepEqual(fourth.evidence.crashes.map(({ at }) => at).filter(Boolean), [[3, 6]]);
      assert.deepEqual(fourth.evidence.through, [[0, 3]], "the items noted before ended without a crash");
      await fourth.note([4, 5]);
      await fourth.note([5, 6]);
      await fourth.note(null);
      const fifth = await (await restart()).take(ref, true, NEVER);
      assert.equal(crashCount(fifth.evidence), 4);
      assert.deepEqual(fifth.evidence.crashes.map(({ at }) => at).filter(Boolean), [[3, 6]]);
      assert.deepEqual(
        fifth.evidence.through,
        [
          [0, 3],
          [4, 6],
        ],
        "kept from attempt to attempt",
      );
    }));

  test(`${name}: a slice that is given back counts no crash, and keeps its finished items`, () =>
    withRecord(async ({ restart }) => {
      for (const again of [false, true, true]) {
        const trial = await (await restart()).take(ref, again, NEVER);
        assert.deepEqual(trial.evidence.crashes, []);
        await trial.note([1, 2]);
        await trial.note([5, 6]);
        await trial.giveBack();
      }
      const { evidence } = await (await restart()).take(ref, true, NEVER);
      assert.deepEqual(evidence, { crashes: [], through: [[1, 2]] });
    }));

  test(`${name}: a process that takes its own lost slice again has not crashed`, () =>
    withRecord(async ({ restart }) => {
      const process = await restart();
      await process.take(ref, false, NEVER);
      await process.take(ref, true, NEVER);
      assert.deepEqual((await process.take(ref, true, NEVER)).evidence, NO_EVIDENCE);
      // A process crashes once, however often it has taken the slice.
      const next = await restart();
      assert.ok(crashCount((await next.take(ref, true, NEVER)).evidence) <= 1);
    }));

  test(`${name}: the loss of a device counts as a crash, in the same process too, and the running item is recorded`, () =>
    withRecord(async ({ restart }) => {
      const process = await restart();
      const first = await process.take(ref, false, NEVER);
      await first.lost();
      const second = await process.take(ref, true, NEVER);
      assert.equal(second.deviceLosses, 1);
      await second.lost();
      const third = await (await restart()).take(ref, true, NEVER);
      assert.deepEqual([third.deviceLosses, crashCount(third.evidence)], [2, 2]);
      await third.note([6, 7]);
      await third.lost();
      const fourth = await (await restart()).take(ref, true, NEVER);
      assert.equal(crashCount(fourth.evidence), 3);
      assert.deepEqual(fourth.evidence.crashes.map(({ at }) => at).filter(Boolean), [[6, 7]]);
      await fourth.end();
      assert.deepEqual((await (await restart()).take(ref, true, NEVER)).evidence, NO_EVIDENCE);
    }));

  test(`${name}: the evidence of a finished slice is deleted`, () =>
    withRecord(async ({ restart }) => {
      await (await restart()).take(ref, false, NEVER);
      const trial = await (await restart()).take(ref, true, NEVER);
      await trial.note([5, 6]);
      await trial.end();
      assert.deepEqual((await (await restart()).take(ref, true, NEVER)).evidence, NO_EVIDENCE);
    }));

  test(`${name}: many attempts are merged into a few, and no evidence is lost`, () =>
    withRecord(async ({ restart }) => {
      await (await restart()).take(ref, false, NEVER);
      const second = await (await restart()).take(ref, true, NEVER);
      await second.note([2, 3]);
      const third = await (await restart()).take(ref, true, NEVER);
      await third.note([8, 9]);
      await third.note([9, 10]);
      await third.lost();
      const process = await restart();
      for (let i = 0; i < 40; i++) await (await process.take(ref, true, NEVER)).giveBack();
      const { evidence } = await process.take(ref, true, NEVER);
      assert.equal(crashCount(evidence), 3);
      assert.deepEqual(
        evidence.crashes.flatMap(({ at }) => (at ? [at] : [])).sort((a, b) => a[0] - b[0]),
        [
          [2, 3],
          [9, 10],
        ],
      );
      assert.deepEqual(evidence.through, [[8, 9]]);
    }));

  test(`${name}: crashes without a blamed item add up to their limit, however often the slice is given back`, () =>
    withRecord(async ({ restart }) => {
      await (await restart()).take(ref, false, NEVER);
      for (let i = 1; i < MAX_UNBLAMED_CRASHES; i++) await (await restart()).take(ref, true, NEVER);
      const process = await restart();
      for (let i = 0; i < 40; i++) await (await process.take(ref, true, NEVER)).giveBack();
      const { evidence } = await process.take(ref, true, NEVER);
      assert.equal(unblamedCrashCount(evidence), MAX_UNBLAMED_CRASHES);
    }));
}
