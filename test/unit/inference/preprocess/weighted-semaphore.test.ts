import assert from "node:assert/strict";
import { test } from "node:test";
import { WeightedSemaphore } from "../../../../src/inference/preprocess/image/weighted-semaphore.ts";

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
