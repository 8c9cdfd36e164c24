import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Batch } from "../../../../src/inference/batching/batch.ts";
import { BatchQueue, MAX_PASSED_OVER } from "../../../../src/inference/batching/batch-queue.ts";
import type { Entry, Waiting } from "../../../../src/inference/batching/length-sorted-list.ts";
import { fixedRules } from "../../../helpers/models/batch-rules.ts";

type Item = { id: number; group: number; length: number };
type Step = Item[] | "cut";

function cut<T>(queue: BatchQueue<T>, budget: number): Entry<T>[] {
  const batch = new Batch<Waiting<T>>(fixedRules(budget));
  queue.fill(batch);
  return batch.entries;
}

/** Applies the steps to a queue, then cuts until it is empty. @returns the events, in order */
function trace(steps: readonly (readonly number[] | "cut")[], budget: number): Step[] {
  const queue = new BatchQueue<Item>();
  const events: Step[] = [];
  const batches: Item[][] = [];
  let ids = 0;
  for (const [group, step] of steps.entries()) {
    if (step === "cut") take();
    else {
      const items = step.map((length) => ({ id: ids++, group, length }));
      queue.add(items.map((value) => ({ length: value.length, value })));
      events.push(items);
    }
  }
  while (queue.size > 0) take();
  return events;

  function take() {
    const batch = cut(queue, budget).map((entry) => entry.value);
    batches.push(batch);
    events.push("cut", batch);
  }
}

/** Checks every batch of a trace against the rules, by counting over all items. */
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
  it("takes every item once, within the budget, and passes over none more than eight times", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 2000 }), (plan, budget) => check(trace(plan, budget), budget)),
      { numRuns: 500 },
    );
  });

  it("keeps the rules when each cut is followed by items that fit the next batch better", () => {
    // Lengths that cannot share a batch: new items draw the batches away from the rest of the first group.
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

  it("reaches the limit: the last item of a group waits for eight batches with newer items, not more", () => {
    const queue = new BatchQueue<string>();
    const add = (...items: [string, number][]) => queue.add(items.map(([value, length]) => ({ value, length })));
    // Each batch takes one item of the first group and one new item of the same length.
    add(...Array.from({ length: 12 }, (_, at): [string, number] => [`old-${at}`, 3 ** (12 - at)]));
    const batches: string[][] = [];
    for (let at = 0; at < 11; at++) {
      add([`new-${at}`, 3 ** (12 - at)]);
      batches.push(cut(queue, 2 * 3 ** (12 - at)).map((entry) => entry.value));
    }
    const joined = batches.map((batch) => batch.some((value) => value.startsWith("new")));
    assert.deepEqual(joined, [...Array(8).fill(true), false, false, false]);
  });

  it("begins with the longest item of the oldest group, then takes shorter ones, then longer ones", () => {
    const queue = new BatchQueue<number>();
    for (const items of [
      [5, 40],
      [44, 39, 70],
      [41, 12],
    ])
      queue.add(items.map((length) => ({ length, value: length })));
    assert.deepEqual(
      cut(queue, 176).map((entry) => entry.value),
      [40, 39, 41, 44],
    );
    assert.deepEqual(
      cut(queue, 176).map((entry) => entry.value),
      [5],
    );
  });

  it("takes items of equal length in the order of arrival", () => {
    const queue = new BatchQueue<number>();
    queue.add([0, 1, 2].map((value) => ({ length: 1, value })));
    queue.add([3, 4, 5, 6].map((value) => ({ length: 1, value })));
    assert.deepEqual(
      cut(queue, 5).map((entry) => entry.value),
      [0, 1, 2, 3, 4],
    );
  });

  it("drops the waiting items of a discarded group, and no others", () => {
    const queue = new BatchQueue<string>();
    const first = queue.add(["a", "b", "c"].map((value) => ({ length: 1, value })));
    queue.add(["d", "e"].map((value) => ({ length: 1, value })));
    assert.equal(cut(queue, 1)[0]?.value, "a");
    assert.equal(queue.discard(first), 2);
    assert.equal(queue.discard(first), 0);
    assert.equal(queue.size, 2);
    assert.deepEqual(
      cut(queue, 9).map((entry) => entry.value),
      ["d", "e"],
    );
    assert.equal(queue.size, 0);
  });
});
