import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Backlog, QueueBacklog } from "../../../src/workers/queue/queue-backlog.ts";

/** A backlog whose readings are counted. `state` is what the readers find. */
function scene(state: Backlog) {
  const clock = { now: 0 };
  const reads = { waiting: 0, workers: 0 };
  const failing = { is: false };
  const read = async (name: keyof Backlog) => {
    reads[name]++;
    if (failing.is) throw new Error("no connection");
    return state[name];
  };
  const readers = { waiting: () => read("waiting"), workers: () => read("workers") };
  return { state, clock, reads, failing, backlog: new QueueBacklog(readers, () => clock.now) };
}

async function mostOf(state: Backlog, inHand: number): Promise<number> {
  const { backlog } = scene(state);
  await backlog.refresh();
  return backlog.mostInHand(inHand);
}

describe("QueueBacklog", () => {
  it("allows no slice ahead while fewer wait than workers serve the queue", async () => {
    const waiting = [0, 1, 2, 3, 8, 30];
    const most = await Promise.all(waiting.map((count) => mostOf({ waiting: count, workers: 3 }, 1)));
    assert.deepEqual(most, [1, 1, 1, 2, 3, 8]);
    assert.equal(await mostOf({ waiting: 5, workers: 3 }, 2), 2, "the third one needs six that wait");
    assert.equal(await mostOf({ waiting: 6, workers: 3 }, 2), 3);
    assert.equal(await mostOf({ waiting: 0, workers: 3 }, 0), 1, "an idle worker takes any slice");
  });

  it("leaves each other worker as many slices as it has itself, however many it takes at a time", async () => {
    const states = fc.record({ waiting: fc.nat(500), workers: fc.integer({ min: 2, max: 40 }), inHand: fc.nat(50) });
    await fc.assert(
      fc.asyncProperty(states, async ({ waiting, workers, inHand }) => {
        const most = await mostOf({ waiting, workers }, inHand);
        const mayTake = (more: number) => waiting - more >= (inHand + more) * workers;
        if (most > Math.max(1, inHand)) assert.ok(mayTake(most - inHand - 1));
        assert.ok(!mayTake(Math.max(0, most - inHand)), "and no less than that");
      }),
    );
  });

  it("counts the slices that it took since the last reading", async () => {
    const { backlog } = scene({ waiting: 9, workers: 2 });
    await backlog.refresh();
    const most = [1, 2, 3, 4, 5].map((inHand) => {
      if (inHand > 1) backlog.take();
      return backlog.mostInHand(inHand);
    });
    assert.deepEqual(most, [4, 4, 4, 4, 4]);
  });

  it("sets no limit for a worker that is alone, and does not count its slices", async () => {
    const { backlog, clock, reads } = scene({ waiting: 0, workers: 1 });
    assert.equal(backlog.mostInHand(1), 1, "not read yet");
    await backlog.refresh();
    assert.equal(backlog.mostInHand(5), Number.POSITIVE_INFINITY);
    clock.now += 1_999;
    assert.equal(backlog.refresh(), undefined);
    assert.deepEqual(reads, { waiting: 0, workers: 1 });
  });

  it("reads waiting slices ten times a second at most, and workers every two seconds", async () => {
    const { backlog, clock, reads, state } = scene({ waiting: 3, workers: 2 });
    for (let at = 0; at < 2_000; at += 10) {
      clock.now = at;
      await backlog.refresh();
    }
    assert.deepEqual(reads, { waiting: 20, workers: 1 });
    state.workers = 1;
    clock.now = 2_000;
    await backlog.refresh();
    assert.equal(backlog.mostInHand(1), Number.POSITIVE_INFINITY);
  });

  it("counts itself before it is registered", async () => {
    assert.equal(await mostOf({ waiting: 9, workers: 0 }, 1), Number.POSITIVE_INFINITY);
  });

  it("allows no further slice if Redis does not answer, and asks again later", async () => {
    const { backlog, clock, reads, failing } = scene({ waiting: 3, workers: 3 });
    failing.is = true;
    await backlog.refresh();
    assert.equal(backlog.refresh(), undefined, "not at once");
    assert.equal(backlog.mostInHand(1), 1);
    failing.is = false;
    clock.now += 100;
    await backlog.refresh();
    assert.equal(backlog.mostInHand(1), 2);
    failing.is = true;
    clock.now += 5_000;
    await backlog.refresh();
    assert.equal(backlog.mostInHand(1), 1, "what it knew is outdated");
    assert.equal(reads.workers, 3);
  });

  it("allows no further slice by an outdated reading", async () => {
    const { backlog, clock, state } = scene({ waiting: 30, workers: 3 });
    await backlog.refresh();
    clock.now += 99;
    assert.equal(backlog.mostInHand(2), 9);
    clock.now += 1;
    assert.deepEqual([backlog.mostInHand(2), backlog.mostInHand(0)], [2, 1]);
    state.waiting = 1;
    await backlog.refresh();
    assert.equal(backlog.mostInHand(2), 1);
  });
});
