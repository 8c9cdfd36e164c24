import assert from "node:assert/strict";
import { test } from "node:test";
import type { LossRecord } from "../../src/workers/losses.ts";

/** What every record of losses must do. `reopen` is what a new process would see after the last one died. */
export function lossRecordConformance(
  name: string,
  open: () => Promise<{ reopen(): Promise<LossRecord>; close(): Promise<void> }>,
): void {
  const ref = { run: "0123456789abcdef", slice: 7 };

  test(`${name}: a slice taken for the first time lost nothing`, async () => {
    const world = await open();
    const losses = await (await world.reopen()).take(ref, 0, 0);
    assert.deepEqual(losses, { times: 0, crashedOn: new Set() });
    await world.close();
  });

  test(`${name}: losses add up over deaths of the process, and the item it died on is known`, async () => {
    const world = await open();
    await (await world.reopen()).take(ref, 0, 0);
    await (await world.reopen()).take(ref, 1, 0);
    const third = await world.reopen();
    assert.deepEqual(await third.take(ref, 2, 0), { times: 2, crashedOn: new Set() });
    await third.at(ref, 3);
    await third.at(ref, 4);
    const fourth = await world.reopen();
    assert.deepEqual(await fourth.take(ref, 3, 0), { times: 3, crashedOn: new Set([4]) });
    await fourth.at(ref, 0);
    assert.deepEqual(await (await world.reopen()).take(ref, 4, 0), { times: 4, crashedOn: new Set([0, 4]) });
    await world.close();
  });

  test(`${name}: a slice given back blames nobody`, async () => {
    const world = await open();
    const first = await world.reopen();
    await first.take(ref, 0, 0);
    await first.at(ref, 5);
    await first.giveBack(ref);
    const losses = await (await world.reopen()).take(ref, 0, 0);
    assert.deepEqual(losses, { times: 0, crashedOn: new Set() });
    await world.close();
  });

  test(`${name}: a device lost counts as a worker lost, and the item it was lost on is known`, async () => {
    const world = await open();
    const first = await world.reopen();
    await first.take(ref, 0, 0);
    await first.lost(ref);
    // The same process may try again.
    assert.deepEqual(await first.take(ref, 0, 1), { times: 1, crashedOn: new Set() });
    await first.lost(ref);
    const second = await world.reopen();
    assert.deepEqual(await second.take(ref, 0, 2), { times: 2, crashedOn: new Set() });
    await second.at(ref, 6);
    await second.lost(ref);
    const third = await world.reopen();
    assert.deepEqual(await third.take(ref, 0, 3), { times: 3, crashedOn: new Set([6]) });
    await third.end(ref);
    assert.deepEqual(await (await world.reopen()).take(ref, 0, 3), { times: 0, crashedOn: new Set() });
    await world.close();
  });

  test(`${name}: what ended is forgotten`, async () => {
    const world = await open();
    const first = await world.reopen();
    await first.take(ref, 0, 0);
    await first.at(ref, 5);
    await first.end(ref);
    assert.deepEqual(await (await world.reopen()).take(ref, 0, 0), { times: 0, crashedOn: new Set() });
    await world.close();
  });
}
