import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Isolation } from "../../../src/workers/crashes/isolation.ts";

const never = new AbortController().signal;

test("whoever is alone shares with nobody, whatever the order of arrival", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(fc.boolean(), { maxLength: 20 }), async (scheduler, kinds) => {
      const isolation = new Isolation();
      let together = 0;
      let alone = 0;
      let through = 0;
      const visits = kinds.map((isAlone, i) =>
        scheduler.schedule(Promise.resolve(), `arrives ${i}`).then(() =>
          isAlone
            ? isolation.exclusive(async () => {
                alone += 1;
                assert.deepEqual({ alone, together }, { alone: 1, together: 0 });
                await scheduler.schedule(Promise.resolve(), `alone ${i}`);
                alone -= 1;
                through += 1;
              }, never)
            : isolation.shared(async () => {
                together += 1;
                assert.equal(alone, 0);
                await scheduler.schedule(Promise.resolve(), `together ${i}`);
                together -= 1;
                through += 1;
              }, never),
        ),
      );
      await scheduler.waitFor(Promise.all(visits));
      assert.equal(through, kinds.length);
    }),
  );
});

test("work that throws lets the next one in", async () => {
  const isolation = new Isolation();
  await assert.rejects(
    isolation.exclusive(() => Promise.reject(new Error("a")), never),
    /a/,
  );
  await assert.rejects(
    isolation.shared(() => Promise.reject(new Error("b")), never),
    /b/,
  );
  assert.equal(await isolation.exclusive(async () => 1, never), 1);
  assert.equal(await isolation.shared(async () => 2, never), 2);
});

test("work that leaves early holds up nobody, and leaves once", async () => {
  const isolation = new Isolation();
  const kept = Promise.withResolvers<string>();
  const entered = Promise.withResolvers<void>();
  const inside = isolation.shared(() => entered.promise, never);
  const waits = isolation.shared((leave) => {
    leave();
    leave();
    return kept.promise;
  }, never);
  await new Promise(setImmediate);
  let isAlone = false;
  const alone = isolation.exclusive(async () => {
    isAlone = true;
  }, never);
  await new Promise(setImmediate);
  assert.equal(isAlone, false, "the other one is inside still");
  entered.resolve();
  await Promise.all([inside, alone]);
  kept.resolve("written");
  assert.equal(await waits, "written");
  assert.equal(await isolation.exclusive(async () => 1, never), 1);
});

test("a wait ends when its signal aborts, and lets nobody in too early", async () => {
  const isolation = new Isolation();
  const work = Promise.withResolvers<void>();
  const inside = isolation.shared(() => work.promise, never);
  await new Promise(setImmediate);
  const order: string[] = [];
  const first = new AbortController();
  const others = new AbortController();
  const note = (name: string) => async () => void order.push(name);
  const gone = [
    assert.rejects(isolation.exclusive(note("never"), first.signal), /cancelled/),
    assert.rejects(isolation.exclusive(note("never"), others.signal), /cancelled/),
    assert.rejects(isolation.shared(note("never"), others.signal), /cancelled/),
  ];
  const last = isolation.exclusive(note("alone"), never);
  const after = isolation.shared(note("together"), never);
  others.abort(new Error("cancelled"));
  await Promise.all(gone.slice(1));
  first.abort(new Error("cancelled"));
  await gone[0];
  await new Promise(setImmediate);
  assert.deepEqual(order, [], "one is inside still");
  work.resolve();
  await Promise.all([inside, last, after]);
  assert.deepEqual(order, ["alone", "together"]);
});
