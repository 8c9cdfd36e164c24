import assert from "node:assert/strict";
import { test } from "node:test";
import { WeightedSemaphore } from "../../../../src/inference/preprocess/image/weighted-semaphore.ts";
import type { Lane } from "../../../../src/schemas/names.ts";

/** Whether a promise is settled after all ready callbacks have run. */
async function isOpen(promise: Promise<unknown>): Promise<boolean> {
  const settled = promise.then(() => false);
  await new Promise(setImmediate);
  return await Promise.race([settled, Promise.resolve(true)]);
}

test("requests within the capacity are granted at once, others wait, and none overtakes a heavy one", async () => {
  const semaphore = new WeightedSemaphore(10);
  const first = await semaphore.take(6);
  const second = await semaphore.take(4);
  const heavy = semaphore.take(8);
  const light = semaphore.take(1);
  first();
  first();
  assert.equal(semaphore.held, 4);
  assert.ok(await isOpen(heavy));
  assert.ok(await isOpen(light));
  second();
  (await heavy)();
  await light;
  assert.equal(semaphore.held, 1);
});

test("a weight over the capacity runs alone", async () => {
  const semaphore = new WeightedSemaphore(10);
  const small = await semaphore.take(1);
  const giant = semaphore.take(1e9);
  assert.ok(await isOpen(giant));
  small();
  const release = await giant;
  const next = semaphore.take(1);
  assert.ok(await isOpen(next));
  release();
  await next;
});

test("after close, waiting and new requests are rejected", async () => {
  const semaphore = new WeightedSemaphore(1);
  await semaphore.take(1);
  const waiting = semaphore.take(1);
  const reason = new Error("closed");
  semaphore.close(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(semaphore.take(1), reason);
});

test("the lanes take turns: interactive requests do not wait for all bulk requests, and bulk requests keep half", async () => {
  const semaphore = new WeightedSemaphore(1);
  const order: string[] = [];
  const ask = (lane: Lane) => semaphore.take(1, lane).then((release) => ({ release, lane }));
  const first = await ask("bulk");
  const asked = [...Array<Lane>(3).fill("bulk"), ...Array<Lane>(5).fill("interactive")].map((lane) =>
    ask(lane).then((granted) => {
      order.push(granted.lane[0]!);
      granted.release();
    }),
  );
  first.release();
  await Promise.all(asked);
  assert.equal(order.join(""), "ibibibii");
  assert.equal(semaphore.held, 0);
});

test("a heavy bulk request is not overtaken by interactive requests when it is its turn", async () => {
  const semaphore = new WeightedSemaphore(10);
  const small = await semaphore.take(5);
  const heavy = semaphore.take(8);
  const urgent = semaphore.take(6, "interactive");
  const later = semaphore.take(2, "interactive");
  small();
  const release = await urgent;
  assert.ok(await isOpen(heavy));
  assert.ok(await isOpen(later), "it is the turn of the bulk request");
  release();
  await Promise.all([heavy, later]);
});
