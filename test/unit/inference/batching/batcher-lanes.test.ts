import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Batch } from "../../../../src/inference/batching/batch.ts";
import { BatchQueue, MAX_PASSED_OVER } from "../../../../src/inference/batching/batch-queue.ts";
import { Batcher, type BatcherOptions } from "../../../../src/inference/batching/batcher.ts";
import {
  BULK_PART,
  type Cut,
  LaneScheduler,
  SHARED_BATCH_MS,
  SHORT_BATCH_MS,
} from "../../../../src/inference/batching/lane-scheduler.ts";
import type { Waiting } from "../../../../src/inference/batching/length-sorted-list.ts";
import type { Answers } from "../../../../src/inference/batching/run-or-halve.ts";
import { LANES, type Lane } from "../../../../src/schemas/names.ts";
import { fixedRules } from "../../../helpers/models/batch-rules.ts";

type Item = { lane: Lane; group: number; length: number };
/** A step: items that arrive together in a lane (by length), a cut, the removal of an earlier arrival, or the return of the last batch. */
type Step = { lane: Lane; lengths: number[] } | "cut" | "putBack" | { drop: number };

/**
 * Applies the steps, then cuts until no item waits. Checks each batch by counting over all waiting items.
 * @param costPerMs the measured speed. If it is given, interactive items keep coming
 */
function play(steps: readonly Step[], budget: number, costPerMs?: number): Item[][] {
  const lanes = new LaneScheduler<Item>();
  const rules = fixedRules(budget, costPerMs);
  const keepComing = costPerMs !== undefined;
  const shortBulk = Math.min(budget, keepComing ? Math.max(SHORT_BATCH_MS * costPerMs, budget / 8) : budget);
  /** The last batch, until it is put back. */
  let last: Cut<Item> | undefined;
  /** Items that were put back. */
  const returned = new Set<Item>();
  const drops: (() => void)[] = [];
  const batches: Item[][] = [];
  /** All waiting items, with the number of batches that passed over each. */
  const waiting = new Map<Item, number>();
  const waits = (lane: Lane) => [...waiting.keys()].filter((item) => item.lane === lane);
  const lengths = steps.flatMap((step) => (typeof step === "object" && "lengths" in step ? step.lengths : []));
  const largest = Math.max(budget, ...lengths);
  /** BULK_PART × the cost that bulk lacks to its share, over the worst sequence of batches. */
  let short = 0;
  /** The cost of the consecutive batches without interactive items while some waited. */
  let vain = 0;
  for (const step of steps) {
    if (step === "cut") cut();
    else if (step === "putBack") putBack();
    else if ("drop" in step) drop(step.drop);
    else add(step.lane, step.lengths);
  }
  while (lanes.size > 0) cut();
  assert.equal(waiting.size, 0, "nothing is lost");
  assert.equal(lanes.cost, 0);
  return batches;

  function add(lane: Lane, lengths: readonly number[]) {
    const items = lengths.map((length) => ({ lane, group: drops.length, length }));
    drops.push(
      lanes.add(
        lane,
        items.map((value) => ({ length: value.length, value })),
      ),
    );
    for (const item of items) waiting.set(item, 0);
  }

  function drop(group: number) {
    drops[group]?.();
    for (const item of waiting.keys()) if (item.group === group) waiting.delete(item);
  }

  function putBack() {
    if (!last?.canWait) return;
    lanes.putBack(last);
    short = Math.max(0, short - last.owed);
    for (const { value } of last.batch.entries) {
      waiting.set(value, 0);
      returned.add(value);
    }
    batches.pop();
    last = undefined;
  }

  function cut() {
    const urgent = waits("interactive");
    const isBulkDue = waits("bulk").length > 0 && short >= (BULK_PART - 1) * shortBulk;
    last = lanes.cut(rules, keepComing);
    const batch = last.batch.entries.map((entry) => entry.value);
    batches.push(batch);
    assert.equal(batch.length > 0, waiting.size > 0, "a batch is empty only if nothing waits");
    if (batch.length === 0) return;
    for (const item of batch) assert.ok(waiting.delete(item), "nothing is taken twice");
    const longest = Math.max(...batch.map((item) => item.length));
    const cost = longest * batch.length;
    if (batch.length > 1) {
      assert.ok(cost <= budget, `padded cost ${longest} × ${batch.length} within ${budget}`);
      assert.ok(Math.min(...batch.map((item) => item.length)) * 2 >= longest, "similar lengths");
    }
    for (const lane of LANES) {
      // Items that were put back have passed over others when they were cut first.
      const own = batch.filter((item) => item.lane === lane);
      const newest = Math.max(-1, ...own.filter((item) => !returned.has(item)).map((item) => item.group));
      for (const item of waits(lane)) {
        assert.ok(newest === -1 || !returned.has(item), "items that were put back go first");
        if (item.group < newest) waiting.set(item, waiting.get(item)! + 1);
        assert.ok(waiting.get(item)! <= MAX_PASSED_OVER, `passed over ${waiting.get(item)} times`);
      }
    }
    const bulk = batch.filter((item) => item.lane === "bulk");
    if (isBulkDue) assert.equal(bulk.length, batch.length, "bulk has what it is owed to itself");
    else if (urgent.length > 0) {
      const oldest = urgent.filter((item) => item.group === urgent[0]!.group);
      const first = Math.max(...oldest.map((item) => item.length));
      assert.ok(batch[0]!.group === urgent[0]!.group && batch[0]!.length === first, "interactive goes first");
    }
    if (bulk.length === batch.length && batch.length > 1) assert.ok(cost <= shortBulk, "a short batch of bulk items");
    else if (bulk.length > 0 && batch.length > 1 && keepComing)
      assert.ok(cost <= SHARED_BATCH_MS * costPerMs, "bulk items do not delay interactive ones");
    assert.equal(last.canWait, bulk.length === batch.length && urgent.length === 0, "what may be put back");
    vain = urgent.length > 0 && bulk.length === batch.length ? vain + cost : 0;
    assert.ok(vain <= 1.25 * largest, `interactive waited for ${vain} in a row, of ${largest} a batch`);
    short = waits("bulk").length > 0 ? Math.max(0, short + cost - BULK_PART * longest * bulk.length) : 0;
    assert.ok(short <= BULK_PART * largest, `bulk is short of its share by ${short / BULK_PART} of ${largest} a batch`);
  }
}

const lane = fc.constantFrom(...LANES);
const lengths = fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constantFrom(1, 3, 9, 27, 81, 243));
const group = fc.oneof(fc.array(lengths, { maxLength: 3 }), fc.array(lengths, { minLength: 4, maxLength: 40 }));
const budgets = fc.integer({ min: 1, max: 1500 });
const sum = (items: readonly Item[]) => items.reduce((total, { length }) => total + length, 0);

describe("LaneScheduler", () => {
  it("takes every item once, and keeps bulk's share, the limit of interactive waits, and the order in each lane", () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ lane, lengths: group }) },
      { weight: 4, arbitrary: fc.constant("cut" as const) },
      { weight: 1, arbitrary: fc.record({ drop: fc.nat({ max: 40 }) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), budgets, (steps, budget) => void play(steps, budget)),
      { numRuns: 500 },
    );
  });

  it("keeps these rules when batches are put back, and when they are short", () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ lane, lengths: group }) },
      { weight: 5, arbitrary: fc.constant("cut" as const) },
      { weight: 3, arbitrary: fc.constant("putBack" as const) },
      { weight: 1, arbitrary: fc.record({ drop: fc.nat({ max: 40 }) }) },
    );
    const speeds = fc.option(fc.double({ min: 0.01, max: 30, noNaN: true }), { nil: undefined });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), budgets, speeds, (steps, budget, speed) => {
        play(steps, budget, speed);
      }),
      { numRuns: 500 },
    );
  });

  it("keeps these rules when one lane or both always have items", () => {
    const load = fc.record({
      interactive: fc.array(lengths, { maxLength: 12 }),
      bulk: fc.array(lengths, { maxLength: 12 }),
      rounds: fc.integer({ min: 1, max: 50 }),
      budget: budgets,
    });
    fc.assert(
      fc.property(load, ({ interactive, bulk, rounds, budget }) => {
        const round: Step[] = [{ lane: "interactive", lengths: interactive }, { lane: "bulk", lengths: bulk }, "cut"];
        play(Array.from({ length: rounds }, () => round).flat(), budget);
      }),
      { numRuns: 200 },
    );
  });

  it("gives bulk every fifth batch under an endless interactive load", () => {
    const round: Step[] = [{ lane: "interactive", lengths: [8, 8] }, "cut"];
    const steps: Step[] = [
      { lane: "bulk", lengths: Array(60).fill(8) },
      ...Array.from({ length: 100 }, () => round).flat(),
    ];
    const batches = play(steps, 16).slice(0, 100);
    const marks = batches.map((batch) => batch.map((item) => item.lane[0]).join("")).join(" ");
    assert.equal(marks, Array(20).fill("ii ii ii ii bb").join(" "));
    const bulk = batches.flat().filter((item) => item.lane === "bulk");
    assert.equal(sum(bulk) * BULK_PART, sum(batches.flat()));
  });

  it("owes bulk the cost of a batch that is put back", () => {
    const urgent: Step[] = [{ lane: "interactive", lengths: [8, 8] }, "cut"];
    const owed: Step[] = [{ lane: "bulk", lengths: Array(60).fill(8) }, ...urgent, ...urgent, ...urgent];
    const marks = (steps: Step[]) => play(steps, 16).map((batch) => batch.map((item) => item.lane[0]).join(""));
    const rest: Step[] = [...urgent, ...urgent];
    assert.deepEqual(marks([...owed, "cut", ...rest]).slice(0, 6), ["ii", "ii", "ii", "bb", "ii", "ii"]);
    assert.deepEqual(marks([...owed, "cut", "putBack", ...rest]).slice(0, 6), ["ii", "ii", "ii", "ii", "bb", "ii"]);
  });

  it("puts a single interactive item into the next batch, and fills that with bulk items of similar length", () => {
    const bulk = [5, 39, 70, 41, 44, 39].map((length): Step => ({ lane: "bulk", lengths: [length] }));
    const [batch] = play([...bulk, { lane: "interactive", lengths: [40] }, "cut"], 176);
    assert.deepEqual(
      batch!.map((item) => [item.lane, item.length]),
      [
        ["interactive", 40],
        ["bulk", 39],
        ["bulk", 39],
        ["bulk", 41],
      ],
    );
    const endless: Step[] = [{ lane: "bulk", lengths: Array(5000).fill(30) }];
    const upload: Step[] = ["cut", "cut", { lane: "interactive", lengths: [31] }, "cut"];
    const batches = play([...endless, ...Array.from({ length: 50 }, () => upload).flat()], 512).slice(0, 150);
    const sizes = batches.map((each) => [each.length, each.filter((item) => item.lane === "interactive").length]);
    assert.deepEqual(
      sizes,
      Array.from({ length: 50 }, () => [
        [17, 0],
        [17, 0],
        [16, 1],
      ]).flat(),
    );
  });

  it("does not count dropped items for bulk's share", () => {
    const urgent: Step[] = [{ lane: "interactive", lengths: [8, 8] }, "cut"];
    const steps: Step[] = [{ lane: "bulk", lengths: [8] }, ...urgent, ...urgent, ...urgent, ...urgent, { drop: 0 }];
    assert.equal(play([...steps, ...urgent], 16).length, 5);
  });

  it("treats a single lane as its queue does", () => {
    const step = fc.oneof({ weight: 2, arbitrary: group }, { weight: 3, arbitrary: fc.constant("cut" as const) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), lane, budgets, (steps, only, budget) => {
        const lanes = new LaneScheduler<number>();
        const queue = new BatchQueue<number>();
        const both = [...steps, ...Array<"cut">(40).fill("cut")];
        for (const each of both) {
          if (each !== "cut") {
            const entries = each.map((length, value) => ({ length, value }));
            lanes.add(only, entries);
            queue.add(entries);
            continue;
          }
          const batch = new Batch<Waiting<number>>(fixedRules(budget));
          queue.fill(batch);
          const alone = batch.entries.map((entry) => [entry.length, entry.value]);
          assert.deepEqual(
            lanes.cut(fixedRules(budget)).batch.entries.map((entry) => [entry.length, entry.value]),
            alone,
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** A batcher whose batches run until the test ends them. */
function held(options: Partial<BatcherOptions<number, number>>) {
  const out: { batch: number[]; thread: number; end: () => void }[] = [];
  const run = (batch: number[], thread: number) =>
    new Promise<Answers<number>>((resolve) =>
      out.push({ batch, thread, end: () => resolve({ answers: batch, ms: 1 }) }),
    );
  const rules = fixedRules(4);
  const batcher = new Batcher<number, number>({ rules, threads: 1, batchesPerThread: 2, run, ...options });
  const add = (values: number[], lane?: Lane) =>
    batcher.add(
      values.map((value) => ({ length: 1, value })),
      undefined,
      undefined,
      lane,
    );
  return { batcher, add, out, batches: () => out.map(({ batch, thread }) => [thread, ...batch]) };
}

/** Waits for the turn of the event loop in which batches are cut. */
const turns = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
};

describe("Batcher's threads", () => {
  it("gives an idle thread all items, and a busy one its next batch only when a full one waits", async () => {
    const { batcher, add, out, batches } = held({});
    const calls = [add([1])];
    await turns();
    calls.push(add([2, 3]), add([4]));
    await turns();
    assert.deepEqual(batches(), [[0, 1]]);
    calls.push(add([5]));
    await turns();
    assert.deepEqual(batches().slice(1), [[0, 2, 3, 4, 5]]);
    calls.push(add([6]), add([7, 8, 9, 10]));
    await turns();
    assert.equal(out.length, 2, "one runs, one is ready, and no more");
    out[0]!.end();
    await turns();
    assert.deepEqual(batches().slice(2), [[0, 6, 7, 8, 9]]);
    out[1]!.end();
    await turns();
    assert.equal(out.length, 3, "one that is not full waits for an idle thread");
    out[2]!.end();
    await turns();
    assert.deepEqual(batches().slice(3), [[0, 10]]);
    out[3]!.end();
    await Promise.all(calls);
    assert.equal(batcher.held, 0);
  });

  it("knows which thread is idle, regardless of the other one", async () => {
    const { add, out, batches } = held({ threads: 2 });
    const calls = [add([1, 2, 3, 4]), add([5, 6, 7, 8]), add([9, 10, 11, 12])];
    await turns();
    assert.deepEqual(batches(), [
      [0, 1, 2, 3, 4],
      [1, 5, 6, 7, 8],
      [0, 9, 10, 11, 12],
    ]);
    calls.push(add([13, 14]));
    await turns();
    assert.equal(out.length, 3);
    out[1]!.end();
    await turns();
    assert.deepEqual(batches().slice(3), [[1, 13, 14]]);
    for (const { end } of out) end();
    await Promise.all(calls);
  });

  it("leaves a few items to a thread that is about to finish, so that they share its next batch", async () => {
    const { add, out, batches } = held({ threads: 2 });
    const calls = [add([1])];
    await turns();
    // From here on, a batch is expected to take no time.
    out[0]!.end();
    await turns();
    calls.push(add([2]));
    await turns();
    calls.push(add([3]));
    await turns();
    assert.deepEqual(batches().slice(1), [[0, 2]], "3 waits, though a thread is idle");
    out[1]!.end();
    await turns();
    calls.push(add([4, 5]));
    await turns();
    assert.deepEqual(batches().slice(2), [
      [0, 3],
      [1, 4, 5],
    ]);
    for (const { end } of out) end();
    await Promise.all(calls);
  });

  it("takes interactive items first, and counts the items of each lane", async () => {
    const { batcher, add, out, batches } = held({ batchesPerThread: 1 });
    const calls = [add([1]), add([2, 3, 4, 5, 6, 7, 8], "bulk"), add([9, 10], "interactive")];
    await turns();
    assert.deepEqual(batches(), [[0, 9, 10, 1, 2]]);
    out[0]!.end();
    await turns();
    const { lanes } = batcher.stats;
    assert.deepEqual(lanes, { interactive: { items: 2, realCost: 2 }, bulk: { items: 6, realCost: 6 } });
    out[1]!.end();
    await turns();
    out[2]!.end();
    assert.deepEqual(await Promise.all(calls), [[1], [2, 3, 4, 5, 6, 7, 8], [9, 10]]);
  });
});
