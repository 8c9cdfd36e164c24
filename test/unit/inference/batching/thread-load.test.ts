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
    assert.equal(threads.endsWithin(25, 0), false, "nothing is known yet");
    threads.end(0, 20);
    assert.equal(threads.endsWithin(25, 20), false, "nothing runs");
    threads.begin(0, 100, 20);
    assert.equal(threads.endsWithin(25, 20), false, "200 ms to go");
    assert.equal(threads.endsWithin(25, 200), true, "20 ms to go");
    assert.equal(threads.endsWithin(25, 240), true, "20 ms late");
    assert.equal(threads.endsWithin(25, 250), false, "30 ms late");
    threads.begin(0, 10, 30);
    threads.end(0, 220);
    assert.equal(threads.endsWithin(25, 220), true, "the one that was ready runs from then on");
    assert.equal(threads.endsWithin(10, 220), false);
  });
});
