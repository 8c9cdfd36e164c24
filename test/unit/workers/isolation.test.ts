import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Isolation } from "../../../src/workers/crashes/isolation.ts";

const never = new AbortController().signal;

test("whoever is alone shares with nobody, whatever the order of arrival", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(fc.boolean(), { maxLength: 20 }), async (scheduler, kinds) => {
      const gate = new Isolation();
      let together = 0;
      let alone = 0;
      let through = 0;
      const visits = kinds.map((isAlone, i) =>
        scheduler.schedule(Promise.resolve(), `arrives ${i}`).then(() =>
          isAlone
            ? gate.alone(async () => {
                alone += 1;
                assert.deepEqual({ alone, together }, { alone: 1, together: 0 });
                await scheduler.schedule(Promise.resolve(), `alone ${i}`);
                alone -= 1;
                through += 1;
              }, never)
            : gate.together(async () => {
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
  const gate = new Isolation();
  await assert.rejects(
    gate.alone(() => Promise.reject(new Error("a")), never),
    /a/,
  );
  await assert.rejects(
    gate.together(() => Promise.reject(new Error("b")), never),
    /b/,
  );
  assert.equal(await gate.alone(async () => 1, never), 1);
  assert.equal(await gate.together(async () => 2, never), 2);
});

test("work that leaves early holds up nobody, and leaves once", async () => {
  const gate = new Isolation();
  const kept = Promise.withResolvers<string>();
  const entered = Promise.withResolvers<void>();
  const inside = gate.together(() => entered.promise, never);
  const waits = gate.together((leave) => {
    leave();
    leave();
    return kept.promise;
  }, never);
  await new Promise(setImmediate);
  let isAlone = false;
  const alone = gate.alone(async () => {
    isAlone = true;
  }, never);
  await new Promise(setImmediate);
  assert.equal(isAlone, false, "the other one is inside still");
  entered.resolve();
  await Promise.all([inside, alone]);
  kept.resolve("written");
  assert.equal(await waits, "written");
  assert.equal(await gate.alone(async () => 1, never), 1);
});

test("a wait ends when its signal aborts, and lets nobody in too early", async () => {
  const gate = new Isolation();
  const work = Promise.withResolvers<void>();
  const inside = gate.together(() => work.promise, never);
  await new Promise(setImmediate);
  const order: string[] = [];
  const first = new AbortController();
  const others = new AbortController();
  const note = (name: string) => async () => void order.push(name);
  const gone = [
    assert.rejects(gate.alone(note("never"), first.signal), /cancelled/),
    assert.rejects(gate.alone(note("never"), others.signal), /cancelled/),
    assert.rejects(gate.together(note("never"), others.signal), /cancelled/),
  ];
  const last = gate.alone(note("alone"), never);
  const after = gate.together(note("together"), never);
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
