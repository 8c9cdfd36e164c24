import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LabelmillError } from "../../src/errors.ts";
import { BatchQueue, MAX_PASSED_OVER } from "../../src/inference/batch-queue.ts";
import { Batcher, type BatcherOptions } from "../../src/inference/batcher.ts";

type Item = { id: number; group: number; length: number };
type Step = Item[] | "cut";

/** Feeds the steps to a queue, then cuts until it is empty; what it saw, in order. */
function trace(steps: readonly (readonly number[] | "cut")[], budget: number): Step[] {
  const queue = new BatchQueue<Item>();
  const events: Step[] = [];
  const batches: Item[][] = [];
  let ids = 0;
  for (const [group, step] of steps.entries()) {
    if (step === "cut") cut();
    else {
      const items = step.map((length) => ({ id: ids++, group, length }));
      queue.add(items.map((value) => ({ length: value.length, value })));
      events.push(items);
    }
  }
  while (queue.size > 0) cut();
  return events;

  function cut() {
    const batch = queue.cut(budget).map((entry) => entry.value);
    batches.push(batch);
    events.push("cut", batch);
  }
}

/** Every batch of a trace, checked against the rules by counting, item by item, over the whole of it. */
function check(events: readonly Step[], budget: number) {
  const waiting = new Map<Item, number>();
  let added = 0;
  let taken = 0;
  for (let at = 0; at < events.length; at++) {
    const event = events[at]!;
    if (event !== "cut") {
      for (const item of event) waiting.set(item, 0);
      added += event.length;
      continue;
    }
    const batch = events[++at] as Item[];
    assert.equal(batch.length > 0, waiting.size > 0, "a batch is empty only if nothing waits");
    for (const item of batch) assert.ok(waiting.delete(item), `item ${item.id} was waiting`);
    taken += batch.length;
    const longest = Math.max(...batch.map((item) => item.length));
    if (batch.length > 1) {
      assert.ok(longest * batch.length <= budget, `padded cost ${longest} × ${batch.length} within ${budget}`);
      assert.ok(Math.min(...batch.map((item) => item.length)) * 2 >= longest, "similar lengths");
    }
    const newest = Math.max(...batch.map((item) => item.group));
    for (const [item, count] of waiting) {
      if (item.group < newest) waiting.set(item, count + 1);
      assert.ok(waiting.get(item)! <= MAX_PASSED_OVER, `item ${item.id} was passed over ${waiting.get(item)} times`);
    }
  }
  assert.equal(taken, added);
  assert.equal(waiting.size, 0);
}

const lengths = fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constantFrom(1, 2, 3, 64, 65, 128, 512));
const group = fc.oneof(fc.array(lengths, { maxLength: 3 }), fc.array(lengths, { minLength: 4, maxLength: 60 }));
const steps = fc.array(
  fc.oneof({ weight: 2, arbitrary: group }, { weight: 3, arbitrary: fc.constant("cut" as const) }),
  {
    maxLength: 120,
  },
);

describe("BatchQueue", () => {
  it("takes every item once, within the budget, passing over none more than eight times", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 2000 }), (plan, budget) => check(trace(plan, budget), budget)),
      { numRuns: 500 },
    );
  });

  it("keeps its promises when each cut is answered by arrivals that would rather go first", () => {
    // Lengths too far apart to share a batch: newcomers pull the batches away from the others of the first group.
    const apart = fc.oneof(fc.constantFrom(1, 3, 9, 27, 81, 243), lengths);
    const crowd = fc.record({
      first: fc.array(apart, { minLength: 1, maxLength: 40 }),
      later: fc.array(apart, { minLength: 1, maxLength: 6 }),
      rounds: fc.integer({ min: 1, max: 60 }),
      budget: fc.integer({ min: 8, max: 1024 }),
    });
    fc.assert(
      fc.property(crowd, ({ first, later, rounds, budget }) => {
        const plan = [first, ...Array.from({ length: rounds }, () => [later, "cut" as const]).flat()];
        check(trace(plan, budget), budget);
      }),
      { numRuns: 300 },
    );
  });

  it("comes to the bound: the last of a group waits for eight batches of newer items, and no more", () => {
    const queue = new BatchQueue<string>();
    const add = (...items: [string, number][]) => queue.add(items.map(([value, length]) => ({ value, length })));
    // Each batch takes one item of the first group and one newcomer of the same length.
    add(...Array.from({ length: 12 }, (_, at): [string, number] => [`old-${at}`, 3 ** (12 - at)]));
    const batches: string[][] = [];
    for (let at = 0; at < 11; at++) {
      add([`new-${at}`, 3 ** (12 - at)]);
      batches.push(queue.cut(2 * 3 ** (12 - at)).map((entry) => entry.value));
    }
    const joined = batches.map((batch) => batch.some((value) => value.startsWith("new")));
    assert.deepEqual(joined, [...Array(8).fill(true), false, false, false]);
  });

  it("starts with the longest of the oldest group, goes down in length, then up", () => {
    const queue = new BatchQueue<number>();
    for (const items of [
      [5, 40],
      [44, 39, 70],
      [41, 12],
    ])
      queue.add(items.map((length) => ({ length, value: length })));
    assert.deepEqual(
      queue.cut(176).map((entry) => entry.value),
      [40, 39, 41, 44],
    );
    assert.deepEqual(
      queue.cut(176).map((entry) => entry.value),
      [5],
    );
  });

  it("takes equal lengths in the order of their arrival", () => {
    const queue = new BatchQueue<number>();
    queue.add([0, 1, 2].map((value) => ({ length: 1, value })));
    queue.add([3, 4, 5, 6].map((value) => ({ length: 1, value })));
    assert.deepEqual(
      queue.cut(5).map((entry) => entry.value),
      [0, 1, 2, 3, 4],
    );
  });

  it("drops what waits of a group that is discarded, and nothing else", () => {
    const queue = new BatchQueue<string>();
    const first = queue.add(["a", "b", "c"].map((value) => ({ length: 1, value })));
    queue.add(["d", "e"].map((value) => ({ length: 1, value })));
    assert.equal(queue.cut(1)[0]?.value, "a");
    assert.equal(queue.discard(first), 2);
    assert.equal(queue.discard(first), 0);
    assert.equal(queue.size, 2);
    assert.deepEqual(
      queue.cut(9).map((entry) => entry.value),
      ["d", "e"],
    );
    assert.equal(queue.size, 0);
  });
});

const entries = (values: readonly number[]) => values.map((value) => ({ length: 1, value }));
const square = async (batch: number[]): Promise<(number | Error)[]> => batch.map((value) => value * value);
const make = (options: Partial<BatcherOptions<number, number>>) =>
  new Batcher<number, number>({ budget: 8, slots: 2, run: square, ...options });

describe("Batcher", () => {
  it("isolates exactly the culprits, whoever they are, and answers all others", async () => {
    const plan = fc.record({
      groups: fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 6 }),
      budget: fc.integer({ min: 1, max: 64 }),
      slots: fc.integer({ min: 1, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ groups, budget, slots }) => {
        const bad = new Set<number>();
        let next = 0;
        const values = groups.map((marks) =>
          marks.map((mark) => {
            if (mark) bad.add(next);
            return next++;
          }),
        );
        let out = 0;
        const batcher = make({
          budget,
          slots,
          run: async (batch) => {
            assert.ok(++out <= slots, "no more batches out than slots");
            await new Promise(setImmediate);
            out--;
            if (batch.some((value) => bad.has(value))) throw new RangeError("indigestible");
            return square(batch);
          },
        });
        const outcomes = await Promise.all(values.map((group) => batcher.add(entries(group))));
        for (const [at, group] of values.entries()) {
          assert.equal(outcomes[at]!.length, group.length);
          for (const [index, value] of group.entries()) {
            const outcome = outcomes[at]![index]!;
            if (!bad.has(value)) assert.equal(outcome, value * value);
            else assert.equal(outcome instanceof LabelmillError && outcome.code, "ITEM_FAILED");
          }
        }
        assert.equal(batcher.held, 0);
        assert.equal(batcher.stats.items, next);
      }),
      { numRuns: 150 },
    );
  });

  it("finds one culprit among 64 in no more runs than halving takes", async () => {
    let runs = 0;
    const run = async (batch: number[]) => {
      runs++;
      if (batch.includes(37)) throw new Error("indigestible");
      return square(batch);
    };
    const outcomes = await make({ run, budget: 64 }).add(entries(Array.from({ length: 64 }, (_, at) => at)));
    assert.deepEqual(
      outcomes.flatMap((outcome, at) => (outcome instanceof LabelmillError ? [at] : [])),
      [37],
    );
    assert.equal(runs, 1 + 2 * 6);
  });

  it("puts an error that came as an answer in its item's place", async () => {
    const run = async () => [1, new LabelmillError("NOT_FINITE", "no"), new Error("bad"), 4];
    const [one, two, three, four] = await make({ run }).add(entries([1, 2, 3, 4]));
    assert.deepEqual([one, four], [1, 4]);
    assert.equal(two instanceof LabelmillError && two.code, "NOT_FINITE");
    assert.equal(three instanceof LabelmillError && three.code, "ITEM_FAILED");
  });

  it("rejects the calls of a batch whose thread was lost, without halving, and drops what waits of them", async () => {
    const sizes: number[] = [];
    const run = async (batch: number[]) => {
      sizes.push(batch.length);
      if (batch.includes(0)) throw new LabelmillError("INFERENCE_FAILED", "gone");
      return square(batch);
    };
    const batcher = make({ run, budget: 4, slots: 1 });
    const lost = batcher.add(entries([0, 1, 2, 3, 4, 5, 6, 7, 8]));
    const kept = batcher.add(entries([9, 10]));
    await assert.rejects(lost, { code: "INFERENCE_FAILED" });
    assert.deepEqual(await kept, [81, 100]);
    assert.deepEqual(sizes, [4, 2]);
    assert.equal(batcher.held, 0);
  });

  it("does not guess whose answers they are when their number is wrong", async () => {
    await assert.rejects(make({ run: async () => [1, 2, 3] }).add(entries([1, 2])), { code: "INTERNAL" });
  });

  it("gathers what arrives while every slot is taken", async () => {
    const gates: (() => void)[] = [];
    const sizes: number[] = [];
    const started: (() => void)[] = [];
    const run = async (batch: number[]) => {
      sizes.push(batch.length);
      started.shift()?.();
      await new Promise<void>((resolve) => gates.push(resolve));
      return square(batch);
    };
    const batcher = make({ run, slots: 1 });
    const begun = new Promise<void>((resolve) => started.push(resolve));
    const calls = [batcher.add(entries([1]))];
    await begun;
    for (const value of [2, 3, 4]) calls.push(batcher.add(entries([value])));
    assert.deepEqual([batcher.depth, batcher.held], [3, 4]);
    const second = new Promise<void>((resolve) => started.push(resolve));
    gates.shift()!();
    await second;
    gates.shift()!();
    assert.deepEqual((await Promise.all(calls)).flat(), [1, 4, 9, 16]);
    assert.deepEqual(sizes, [1, 3]);
    assert.deepEqual(batcher.stats, { batches: 2, items: 4, realCost: 4, paddedCost: 4 });
  });

  it("closes when what it holds is done, and takes nothing more", async () => {
    const batcher = make({ budget: 2, slots: 1 });
    const call = batcher.add(entries([1, 2, 3, 4, 5]));
    let closed = false;
    const closing = batcher.close().then(() => {
      closed = true;
    });
    await assert.rejects(batcher.add(entries([6])), { code: "ABORTED" });
    assert.equal(closed, false);
    assert.deepEqual(await call, [1, 4, 9, 16, 25]);
    await closing;
    await make({}).close();
  });

  it("drops what waits of a call that is aborted", async () => {
    const seen: number[] = [];
    const abort = new AbortController();
    const run = async (batch: number[]) => {
      seen.push(...batch);
      abort.abort();
      return square(batch);
    };
    const batcher = make({ run, budget: 2, slots: 1 });
    const call = batcher.add(entries([1, 2, 3, 4, 5, 6]), abort.signal);
    await assert.rejects(call, { code: "ABORTED" });
    await batcher.close();
    assert.deepEqual(seen, [1, 2]);
    assert.deepEqual(await make({}).add([]), []);
    await assert.rejects(make({}).add(entries([1]), abort.signal), { code: "ABORTED" });
  });
});
