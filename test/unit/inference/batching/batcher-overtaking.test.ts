import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LabelmillError } from "../../../../src/errors.ts";
import { Batcher, type BatcherOptions } from "../../../../src/inference/batching/batcher.ts";
import { BULK_PART, SHARED_BATCH_MS, SHORT_BATCH_MS } from "../../../../src/inference/batching/lane-scheduler.ts";
import type { Answers } from "../../../../src/inference/batching/run-or-halve.ts";
import { KEEP_COMING_MS } from "../../../../src/inference/interactive-flow.ts";
import { BatchClaim } from "../../../../src/inference/sessions/batch-claim.ts";
import type { Lane } from "../../../../src/schemas/names.ts";
import { fixedRules } from "../../../helpers/models/batch-rules.ts";

type OnThread = { batch: number[]; claim: BatchClaim | undefined; settle: (error?: Error) => void };
type Ran = Parameters<NonNullable<BatcherOptions<number, number>["onRan"]>>[0];

/** Full batches of 40 items, which take 400 ms. A short one has 10 items, one with interactive items 2. */
const BUDGET = 40;
const COST_PER_MS = 0.1;
const SHORT = SHORT_BATCH_MS * COST_PER_MS;
const SHARED = Math.floor(SHARED_BATCH_MS * COST_PER_MS);

/** A batcher with a clock that the test sets, and threads that begin and end their batches, in order, when the test says so. */
function scene({ threads = 1, costPerMs = COST_PER_MS }: { threads?: number; costPerMs?: number } = {}) {
  const queues: OnThread[][] = Array.from({ length: threads }, () => []);
  const ran: { thread: number; batch: number[] }[] = [];
  const reported: Ran[] = [];
  const clock = { now: 1_000_000 };
  const batcher = new Batcher<number, number>({
    rules: fixedRules(BUDGET, costPerMs),
    threads,
    batchesPerThread: 2,
    now: () => clock.now,
    onRan: (batch) => reported.push(batch),
    run: (batch, thread, _longest, claim) =>
      new Promise<Answers<number>>((resolve, reject) => {
        const settle = (error?: Error) => (error ? reject(error) : resolve({ answers: batch, ms: 1 }));
        queues[thread]!.push({ batch, claim, settle });
        if (queues[thread]!.length === 1) begin(thread);
      }),
  });
  let next = 0;

  /** The first batch of a thread runs. A batch that was taken back is skipped. */
  function begin(thread: number) {
    for (const queue = queues[thread]!; queue.length > 0; queue.shift()) {
      const { batch, claim, settle } = queue[0]!;
      if (!claim || BatchClaim.begin(claim.shared)) return void ran.push({ thread, batch });
      settle(new LabelmillError("ABORTED", "taken back"));
    }
  }

  return {
    batcher,
    clock,
    reported,
    /** Each batch in the order in which it began: the lane of each item. */
    order: () => ran.map(({ batch }) => batch.map((value) => (value < 0 ? "i" : "b")).join("")),
    batches: () => ran.map(({ batch }) => batch),
    threadsUsed: () => ran.map(({ thread }) => thread),
    /** Adds items: bulk items count from 0 up, interactive ones from -1 down. */
    add: (count: number, lane: Lane, signal?: AbortSignal) => {
      const values = Array.from({ length: count }, () => (lane === "bulk" ? next++ : -1 - next++));
      return batcher.add(
        values.map((value) => ({ length: 1, value })),
        signal,
        undefined,
        lane,
      );
    },
    /** Ends the running batch of a thread, which begins its next one. @returns a function that reports it to the batcher */
    endUnseen,
    end: async (thread = 0) => {
      endUnseen(thread)();
      await turns();
    },
    isBusy: (thread = 0) => queues[thread]!.length > 0,
  };

  function endUnseen(thread = 0): () => void {
    const { settle } = queues[thread]!.shift()!;
    begin(thread);
    return settle;
  }
}

/** Waits for the turn of the event loop in which batches are cut. */
const turns = async () => {
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
};

const b = (count: number) => "b".repeat(count);
const i = (count: number) => "i".repeat(count);
/** A batch of one interactive item, filled up with bulk items. */
const SINGLE = i(1) + b(SHARED - 1);
const upTo = (count: number) => Array.from({ length: count }, (_, at) => at);

describe("An interactive item beside bulk items", () => {
  it("runs right after the running batch, before the bulk batch that is ready on the thread", async () => {
    const { batcher, add, end, order, batches } = scene();
    const bulk = add(90, "bulk");
    await turns();
    const single = add(1, "interactive");
    await turns();
    await end();
    await end();
    await single;
    assert.deepEqual(order(), [b(BUDGET), SINGLE, b(SHORT)]);
    while (batcher.held > 0) await end();
    assert.deepEqual(await bulk, upTo(90));
    const ran = batches()
      .flat()
      .filter((value) => value >= 0);
    assert.deepEqual(ran, upTo(90), "bulk items keep their order, and each runs once");
  });

  it("waits for a bulk batch that the thread has begun", async () => {
    const { add, end, endUnseen, order } = scene();
    void add(200, "bulk");
    await turns();
    const report = endUnseen();
    void add(1, "interactive");
    await turns();
    report();
    await turns();
    await end();
    assert.deepEqual(order(), [b(BUDGET), b(BUDGET), SINGLE]);
  });

  it("shares a full batch before the speed of the model is measured", async () => {
    const { add, end, order } = scene({ costPerMs: Number.POSITIVE_INFINITY });
    void add(200, "bulk");
    await turns();
    void add(1, "interactive");
    await turns();
    await end();
    await end();
    assert.deepEqual(order(), [b(BUDGET), i(1) + b(BUDGET - 1), b(BUDGET)]);
  });

  it("does not run behind one that came later, and those that come meanwhile share the next batch", async () => {
    const { add, end, order, batches } = scene();
    void add(200, "bulk");
    await turns();
    for (let single = 0; single < 4; single++) {
      void add(1, "interactive");
      await turns();
    }
    for (let batch = 0; batch < 3; batch++) await end();
    assert.deepEqual(order(), [b(BUDGET), SINGLE, i(3), b(SHORT)]);
    const singles = batches()
      .flat()
      .filter((value) => value < 0);
    assert.deepEqual(
      singles,
      singles.toSorted((one, other) => other - one),
    );
  });

  it("takes back the bulk batch of the thread that ends soonest, and no other one", async () => {
    const { add, end, order, threadsUsed, clock } = scene({ threads: 2 });
    void add(400, "bulk");
    await turns();
    clock.now += 200;
    // Thread 1 is faster by chance. Thread 0 is expected to take as long, so it ends before the next batch of thread 1.
    await end(1);
    void add(1, "interactive");
    await turns();
    await end(1);
    await end(0);
    assert.deepEqual(order(), [b(BUDGET), b(BUDGET), b(BUDGET), b(BUDGET), SINGLE]);
    assert.deepEqual(threadsUsed(), [0, 1, 1, 1, 0]);
  });

  it("makes bulk batches short while more may come, and full again afterwards", async () => {
    const { add, end, order, clock, reported } = scene();
    void add(1000, "bulk");
    await turns();
    void add(1, "interactive");
    await turns();
    await end();
    await end();
    clock.now += KEEP_COMING_MS - 1;
    await end();
    clock.now += 1;
    // One more short batch is on the thread already.
    for (let batch = 0; batch < 4; batch++) await end();
    // What is left of the batch that was taken back comes first, with others.
    assert.deepEqual(order().slice(1), [SINGLE, b(SHORT), b(SHORT), b(SHORT), b(BUDGET), b(BUDGET), b(BUDGET)]);
    assert.deepEqual(
      reported.map(({ isShort, paddedCost }) => (isShort ? -paddedCost : paddedCost)),
      [BUDGET, -SHARED, -SHORT, -SHORT, -SHORT, BUDGET, BUDGET],
      "short batches are marked, so that the search for the best budget leaves them out",
    );
  });

  it("makes a batch no shorter than an eighth of its budget, however slow the model is", async () => {
    const { add, end, order } = scene({ costPerMs: COST_PER_MS / 1000 });
    void add(200, "bulk");
    await turns();
    void add(1, "interactive");
    await turns();
    for (let batch = 0; batch < 3; batch++) await end();
    assert.deepEqual(order(), [b(BUDGET), i(1), b(BUDGET / 8), b(BUDGET / 8)]);
  });

  it("does not make a batch shorter than its budget if that takes less than the limit", async () => {
    const { add, end, order, reported } = scene({ costPerMs: (2 * BUDGET) / SHARED_BATCH_MS });
    void add(200, "bulk");
    await turns();
    void add(1, "interactive");
    await turns();
    for (let batch = 0; batch < 3; batch++) await end();
    assert.deepEqual(order(), [b(BUDGET), i(1) + b(BUDGET - 1), b(BUDGET), b(BUDGET)]);
    assert.ok(reported.every(({ isShort }) => !isShort));
  });

  it("leaves bulk a fifth of the cost under an endless interactive load, and does not take that back", async () => {
    const { add, end, batches } = scene({ threads: 2 });
    void add(20_000, "bulk");
    await turns();
    for (let batch = 0; batch < 400; batch++) {
      void add(BUDGET, "interactive");
      await turns();
      await end(batch % 2);
    }
    const items = batches().slice(2).flat();
    const bulk = items.filter((value) => value >= 0);
    assert.equal(new Set(bulk).size, bulk.length, "no item runs twice");
    assert.ok(bulk.length * BULK_PART >= items.length - BULK_PART * BUDGET, `${bulk.length} of ${items.length}`);
    assert.ok(bulk.length * (BULK_PART - 1) <= items.length, "no more than a quarter: interactive items go first");
  });

  it("counts a batch that was taken back once, when it runs", async () => {
    const { add, end, batcher } = scene();
    void add(90, "bulk");
    await turns();
    void add(1, "interactive");
    await turns();
    const { stats } = batcher;
    assert.deepEqual([stats.batches, stats.items, batcher.held, batcher.depth], [2, BUDGET + SHARED, 91, 49]);
    for (let batch = 0; batch < 7; batch++) await end();
    assert.deepEqual([stats.items, stats.realCost, stats.lanes.bulk.items, batcher.held], [91, 91, 90, 0]);
    await batcher.close();
  });

  it("drops the items of an aborted call from a batch that is taken back", async () => {
    const { add, end, batches, batcher } = scene();
    void add(BUDGET, "bulk");
    const abort = new AbortController();
    const aborted = assert.rejects(add(BUDGET, "bulk", abort.signal), { code: "ABORTED" });
    void add(BUDGET, "bulk");
    await turns();
    abort.abort();
    await aborted;
    void add(1, "interactive");
    await turns();
    for (let batch = 0; batch < 6; batch++) await end();
    const bulk = batches()
      .flat()
      .filter((value) => value >= 0);
    assert.deepEqual(bulk, [...upTo(BUDGET), ...upTo(BUDGET).map((at) => at + 2 * BUDGET)]);
    assert.equal(batcher.held, 0);
  });

  it("every item gets its own answer once, whatever comes and ends when", async () => {
    const step = fc.oneof(
      fc.record({ count: fc.integer({ min: 1, max: 90 }), lane: fc.constantFrom<Lane>("bulk", "interactive") }),
      fc.record({ ends: fc.nat(2), seen: fc.boolean() }),
      fc.record({ ms: fc.integer({ min: 1, max: KEEP_COMING_MS }) }),
    );
    const plan = fc.record({ threads: fc.integer({ min: 1, max: 3 }), steps: fc.array(step, { maxLength: 60 }) });
    await fc.assert(
      fc.asyncProperty(plan, async ({ threads, steps }) => {
        const { batcher, add, end, endUnseen, isBusy, batches, clock } = scene({ threads });
        const calls: { count: number; answers: Promise<unknown[]> }[] = [];
        const reports: (() => void)[] = [];
        for (const each of steps) {
          if ("count" in each) calls.push({ count: each.count, answers: add(each.count, each.lane) });
          else if ("ms" in each) clock.now += each.ms;
          else if (isBusy(each.ends % threads)) reports.push(endUnseen(each.ends % threads));
          if (!("ends" in each) || each.seen) for (const report of reports.splice(0)) report();
          await turns();
        }
        for (const report of reports) report();
        await turns();
        while (batcher.held > 0) for (const thread of upTo(threads)) if (isBusy(thread)) await end(thread);
        await batcher.close();
        let next = 0;
        for (const { count, answers } of calls) {
          const own = upTo(count).map((at) => next + at);
          assert.deepEqual(
            (await answers).map((value) => ((value as number) < 0 ? -1 - (value as number) : value)),
            own,
          );
          next += count;
        }
        const items = batches().flat();
        assert.equal(new Set(items).size, items.length, "no item runs twice");
        assert.equal(items.length, next);
      }),
      { numRuns: 300 },
    );
  });
});
