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

/** What every record of losses must do. `restart` is what a new process would see after the last one died. */
export function crashRecordConformance(
  name: string,
  open: () => Promise<{ restart(): Promise<CrashRecord>; close(): Promise<void> }>,
): void {
  const ref = { run: "0123456789abcdef", slice: 7 };

  async function inWorld(run: (world: Awaited<ReturnType<typeof open>>) => Promise<void>): Promise<void> {
    const world = await open();
    try {
      await run(world);
    } finally {
      await world.close();
    }
  }

  test(`${name}: a slice taken for the first time lost nothing`, () =>
    inWorld(async ({ restart }) => {
      assert.deepEqual((await (await restart()).take(ref, false, NEVER)).evidence, NO_EVIDENCE);
    }));

  test(`${name}: deaths add up over processes, and the items that ran alone are known`, () =>
    inWorld(async ({ restart }) => {
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
      assert.deepEqual(fourth.evidence.through, [[0, 3]], "what was noted before came through");
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
        "kept from try to try",
      );
    }));

  test(`${name}: a slice given back counts no death, and keeps what came through`, () =>
    inWorld(async ({ restart }) => {
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

  test(`${name}: a process that takes a slice again which it lost is not dead`, () =>
    inWorld(async ({ restart }) => {
      const process = await restart();
      await process.take(ref, false, NEVER);
      await process.take(ref, true, NEVER);
      assert.deepEqual((await process.take(ref, true, NEVER)).evidence, NO_EVIDENCE);
      // One process dies once, however often it took the slice.
      const next = await restart();
      assert.ok(crashCount((await next.take(ref, true, NEVER)).evidence) <= 1);
    }));

  test(`${name}: a device lost counts as a death, in the same process too, and the item it was lost on is known`, () =>
    inWorld(async ({ restart }) => {
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

  test(`${name}: what ended is forgotten`, () =>
    inWorld(async ({ restart }) => {
      await (await restart()).take(ref, false, NEVER);
      const trial = await (await restart()).take(ref, true, NEVER);
      await trial.note([5, 6]);
      await trial.end();
      assert.deepEqual((await (await restart()).take(ref, true, NEVER)).evidence, NO_EVIDENCE);
    }));

  test(`${name}: many tries are told in a few, and none of their evidence is lost`, () =>
    inWorld(async ({ restart }) => {
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

  test(`${name}: deaths that no item can be blamed for add up to their bound, however often the slice was given back`, () =>
    inWorld(async ({ restart }) => {
      await (await restart()).take(ref, false, NEVER);
      for (let i = 1; i < MAX_UNBLAMED_CRASHES; i++) await (await restart()).take(ref, true, NEVER);
      const process = await restart();
      for (let i = 0; i < 40; i++) await (await process.take(ref, true, NEVER)).giveBack();
      const { evidence } = await process.take(ref, true, NEVER);
      assert.equal(unblamedCrashCount(evidence), MAX_UNBLAMED_CRASHES);
    }));
}
