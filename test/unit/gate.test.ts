import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Gate } from "../../src/workers/gate.ts";

test("whoever is alone shares with nobody, whatever the order of arrival", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(fc.boolean(), { maxLength: 20 }), async (scheduler, kinds) => {
      const gate = new Gate();
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
              })
            : gate.together(async () => {
                together += 1;
                assert.equal(alone, 0);
                await scheduler.schedule(Promise.resolve(), `together ${i}`);
                together -= 1;
                through += 1;
              }),
        ),
      );
      await scheduler.waitFor(Promise.all(visits));
      assert.equal(through, kinds.length);
    }),
  );
});

test("work that throws lets the next one in", async () => {
  const gate = new Gate();
  await assert.rejects(
    gate.alone(() => Promise.reject(new Error("a"))),
    /a/,
  );
  await assert.rejects(
    gate.together(() => Promise.reject(new Error("b"))),
    /b/,
  );
  assert.equal(await gate.alone(async () => 1), 1);
  assert.equal(await gate.together(async () => 2), 2);
});
