import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Isolation } from "../../../src/workers/crashes/isolation.ts";

const never = new AbortController().signal;

test("exclusive work runs with no other work, in any order of arrival", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(fc.boolean(), { maxLength: 20 }), async (scheduler, kinds) => {
      const isolation = new Isolation();
      let shared = 0;
      let exclusive = 0;
      let done = 0;
      const visits = kinds.map((isExclusive, i) =>
        scheduler.schedule(Promise.resolve(), `arrives ${i}`).then(() =>
          isExclusive
            ? isolation.exclusive(async () => {
                exclusive += 1;
                assert.deepEqual({ exclusive, shared }, { exclusive: 1, shared: 0 });
                await scheduler.schedule(Promise.resolve(), `exclusive ${i}`);
                exclusive -= 1;
                done += 1;
              }, never)
            : isolation.shared(async () => {
                shared += 1;
                assert.equal(exclusive, 0);
                await scheduler.schedule(Promise.resolve(), `shared ${i}`);
                shared -= 1;
                done += 1;
              }, never),
        ),
      );
      await scheduler.waitFor(Promise.all(visits));
      assert.equal(done, kinds.length);
    }),
  );
});

test("work that throws lets the next work start", async () => {
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

test("work that leaves early blocks no other work, and leaves once", async () => {
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
  assert.equal(isAlone, false, "the other work is still running");
  entered.resolve();
  await Promise.all([inside, alone]);
  kept.resolve("written");
  assert.equal(await waits, "written");
  assert.equal(await isolation.exclusive(async () => 1, never), 1);
});

test("a wait ends when its signal aborts, and no other work starts too early", async () => {
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
  const last = isolation.exclusive(note("exclusive"), never);
  const after = isolation.shared(note("shared"), never);
  others.abort(new Error("cancelled"));
  await Promise.all(gone.slice(1));
  first.abort(new Error("cancelled"));
  await gone[0];
  await new Promise(setImmediate);
  assert.deepEqual(order, [], "the first work is still running");
  work.resolve();
  await Promise.all([inside, last, after]);
  assert.deepEqual(order, ["exclusive", "shared"]);
});
