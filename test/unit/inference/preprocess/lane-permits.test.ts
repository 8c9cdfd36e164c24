import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KEEP_COMING_MS } from "../../../../src/inference/interactive-flow.ts";
import { LanePermits } from "../../../../src/inference/preprocess/lane-permits.ts";
import type { Lane } from "../../../../src/schemas/names.ts";

/** Permits with a clock. `order` has the lane of each work that got a permit. */
function scene(count: number) {
  const clock = { now: 0 };
  const permits = new LanePermits(
    Array.from({ length: count }, (_, at) => at),
    () => clock.now,
  );
  const order: Lane[] = [];
  const running: { permit: number; lane: Lane }[] = [];
  const ask = (lane: Lane, times = 1) => {
    for (let at = 0; at < times; at++)
      void permits.take(lane).then((permit) => {
        order.push(lane);
        running.push({ permit, lane });
      });
    return settled();
  };
  const end = (lane: Lane) => {
    const at = running.findIndex((each) => each.lane === lane);
    const { permit } = running.splice(at, 1)[0]!;
    permits.giveBack(permit, lane);
    return settled();
  };
  const countOf = (lane: Lane) => running.filter((each) => each.lane === lane).length;
  return { permits, clock, order, ask, end, running: () => [countOf("interactive"), countOf("bulk")] };
}

const settled = () => new Promise(setImmediate);

describe("LanePermits", () => {
  it("gives all permits to bulk work while no interactive work comes", async () => {
    const { ask, end, running } = scene(3);
    await ask("bulk", 9);
    assert.deepEqual(running(), [0, 3]);
    await end("bulk");
    assert.deepEqual(running(), [0, 3]);
  });

  it("keeps one permit free of bulk work while interactive work keeps coming", async () => {
    const { ask, end, running, clock } = scene(3);
    await ask("bulk", 9);
    await ask("interactive");
    await end("bulk");
    assert.deepEqual(running(), [1, 2], "it goes before the bulk work that waits");
    await end("interactive");
    assert.deepEqual(running(), [0, 2]);
    clock.now += KEEP_COMING_MS - 1;
    await ask("interactive");
    assert.deepEqual(running(), [1, 2], "at once");
    await end("interactive");
    clock.now += KEEP_COMING_MS;
    await end("bulk");
    assert.deepEqual(running(), [0, 3]);
  });

  it("leaves one permit to bulk work, however much interactive work waits", async () => {
    const { ask, end, running, order } = scene(2);
    await ask("interactive", 50);
    assert.deepEqual(running(), [2, 0]);
    await ask("bulk", 20);
    for (let at = 0; at < 20; at++) {
      await end("interactive");
      assert.deepEqual(running(), [1, 1]);
      await end("bulk");
    }
    assert.equal(order.filter((lane) => lane === "bulk").length, 20);
  });

  it("lets interactive work go first if there is one permit", async () => {
    const { ask, end, order, permits } = scene(1);
    await ask("bulk", 2);
    await ask("interactive");
    for (const lane of ["bulk", "interactive", "bulk"] as const) await end(lane);
    assert.deepEqual(order, ["bulk", "interactive", "bulk"]);
    assert.equal(permits.idle, 1);
  });
});
