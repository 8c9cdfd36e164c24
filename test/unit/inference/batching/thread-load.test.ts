import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ThreadLoad } from "../../../../src/inference/batching/thread-load.ts";

describe("ThreadLoad", () => {
  it("names the least busy one", () => {
    const threads = new ThreadLoad(2);
    assert.deepEqual(threads.leastBusy(), { thread: 0, batches: 0 });
    threads.begin(0, 1, 0);
    assert.deepEqual(threads.leastBusy(), { thread: 1, batches: 0 });
    threads.begin(1, 1, 0);
    threads.begin(1, 1, 0);
    assert.deepEqual(threads.leastBusy(), { thread: 0, batches: 1 });
    threads.end(1, 1);
    threads.end(1, 2);
    assert.deepEqual(threads.leastBusy(), { thread: 1, batches: 0 });
  });

  it("expects a batch to end as those before did, by its cost, and does not believe one that is late", () => {
    const threads = new ThreadLoad(2);
    threads.begin(0, 10, 0);
    assert.equal(threads.isIdleWithin(25, 0), false, "nothing is known yet");
    threads.end(0, 20);
    assert.equal(threads.isIdleWithin(25, 20), false, "nothing runs");
    threads.begin(0, 100, 20);
    assert.equal(threads.isIdleWithin(25, 20), false, "200 ms to go");
    threads.begin(0, 10, 20);
    assert.equal(threads.isIdleWithin(25, 200), false, "another batch is ready");
    threads.takeBack(0);
    assert.equal(threads.isIdleWithin(25, 200), true, "20 ms to go");
    assert.equal(threads.isIdleWithin(25, 240), true, "20 ms late");
    assert.equal(threads.isIdleWithin(25, 250), false, "30 ms late");
    threads.begin(0, 10, 30);
    threads.end(0, 220);
    assert.equal(threads.isIdleWithin(25, 220), true, "the one that was ready runs from then on");
    assert.equal(threads.isIdleWithin(10, 220), false);
  });

  it("names the thread that is done soonest, without the batches that are ready", () => {
    const threads = new ThreadLoad(3);
    threads.begin(0, 10, 0);
    threads.begin(1, 10, 5);
    threads.begin(2, 10, 10);
    threads.end(0, 20);
    threads.begin(0, 3, 20);
    threads.begin(1, 100, 20);
    assert.deepEqual([threads.soonest([0, 1, 2]), threads.soonest([0, 2]), threads.soonest([0])], [1, 0, 0]);
    assert.deepEqual(threads.counts, [1, 2, 1]);
  });
});
