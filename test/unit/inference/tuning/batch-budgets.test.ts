import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Budgets } from "../../../../src/inference/tuning/batch-budgets.ts";
import { sizingOf } from "../../../../src/inference/tuning/batch-sizing.ts";

/** A device, as a function from the padded cost of a batch to its ms. */
type Device = (cost: number) => number;

/** A CPU: a fixed time for each batch, and large batches exceed the caches. */
const CPU: Device = (cost) => 2 + cost * 0.1 * (1 + cost / 16_384);
/** A GPU: up to the cost `knee`, every batch takes the same time. */
const gpu =
  (knee: number): Device =>
  (cost) =>
    5 * Math.max(1, cost / knee) + 0.2;

/** A seeded generator of random numbers (0..1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

type Load = { lengths: readonly number[]; device: Device; noise?: number; seed?: number };

/** Runs batches on a device whose times vary by `noise`. @returns the cost and time of each batch */
function run(budgets: Budgets, batches: number, { lengths, device, noise = 0.05, seed = 1 }: Load) {
  const next = random(seed);
  const out: { length: number; cost: number; ms: number }[] = [];
  for (let at = 0; at < batches; at++) {
    const length = lengths[at % lengths.length]!;
    const cost = Math.max(1, Math.floor(budgets.next(length) / length)) * length;
    const ms = device(cost) * (1 + noise * (2 * next() - 1));
    budgets.record({ length, paddedCost: cost, realCost: cost * 0.97, ms });
    out.push({ length, cost, ms });
  }
  return out;
}

const sizing = (start?: number) => sizingOf({ task: "text-classification", dtype: "fp32", kind: "cpu", start }).budgets;

/** Cost per ms of a budget. */
function speed(device: Device, length: number, budget: number): number {
  const cost = Math.max(1, Math.floor(budget / length)) * length;
  return cost / device(cost);
}

function bestSpeed(device: Device, length: number): number {
  const sizes = sizing().sizesOf(length);
  return Math.max(...sizes.map((size) => speed(device, length, size)));
}

/** Checks that the found budgets reach 95 % of the speed of the best fixed ones, for the same cost of each length. */
function assertNearBest(budgets: Budgets, device: Device, lengths: readonly number[]): void {
  const time = (speedOf: (length: number) => number) =>
    lengths.reduce((sum, length) => sum + length / speedOf(length), 0);
  const found = time((length) => speed(device, length, budgets.peek(length)));
  const best = time((length) => bestSpeed(device, length));
  const chosen = lengths.map((length) => `${length}: ${budgets.peek(length)}`).join(", ");
  assert.ok(found <= best / 0.95, `${best / found} of the best speed with ${chosen}`);
}

describe("Budgets", () => {
  const LENGTHS = [12, 30, 60, 25, 110, 14, 28, 200];
  for (const [name, device] of [
    ["a CPU", CPU],
    ["a GPU", gpu(2048)],
  ] as const) {
    for (const start of [1, 512, 65_536]) {
      it(`come within 5 % of the best on ${name} in 200 batches, from ${start}`, () => {
        for (let seed = 1; seed <= 40; seed++) {
          const budgets = new Budgets(sizing(start));
          run(budgets, 200, { lengths: LENGTHS, device, seed });
          assertNearBest(budgets, device, LENGTHS);
        }
      });
    }
  }

  it("follow a change of the best size, up and down", () => {
    const budgets = new Budgets(sizing());
    const lengths = [30];
    for (const knee of [512, 8192, 1024, 16_384]) {
      run(budgets, 3000, { lengths, device: gpu(knee) });
      assertNearBest(budgets, gpu(knee), lengths);
      assert.ok(budgets.peek(30) <= knee * 4, `no larger than it need be: ${budgets.peek(30)} for a knee at ${knee}`);
    }
  });

  it("never try a size that ran out of memory again, nor a larger one", () => {
    const budgets = new Budgets(sizing(65_536));
    run(budgets, 4, { lengths: LENGTHS, device: gpu(65_536) });
    budgets.tooLarge(4096);
    const later = run(budgets, 2000, { lengths: LENGTHS, device: gpu(65_536) });
    const most = Math.max(...later.map(({ cost }) => cost));
    assert.ok(most < 4096 && most > 1000, `${most}`);
  });

  it("cost under 2 % of a ten-minute run", () => {
    for (const device of [CPU, gpu(2048)]) {
      const batches = run(new Budgets(sizing()), 6000, { lengths: LENGTHS, device });
      const best = new Map(LENGTHS.map((length) => [length, bestSpeed(device, length)]));
      const took = batches.reduce((sum, { cost }) => sum + device(cost), 0);
      const least = batches.reduce((sum, { length, cost }) => sum + cost / best.get(length)!, 0);
      assert.ok(took < 1.02 * least, `${took / least} of the time of the best budgets`);
    }
  });

  it("begin where an earlier search ended, and only monitor", () => {
    const before = new Budgets(sizing(1));
    run(before, 400, { lengths: LENGTHS, device: CPU });
    assert.ok(before.settled);
    const after = new Budgets({ ...sizing(), from: before.found, trusted: true });
    const [first] = run(after, 1, { lengths: [60], device: CPU });
    assert.equal(first!.cost, Math.floor(before.peek(60) / 60) * 60);
    assert.ok(after.settled);
  });

  it("give up a size for which too few items wait", () => {
    const budgets = new Budgets(sizing(65_536));
    for (let at = 0; at < 200; at++) {
      budgets.next(30);
      // No more than 20 texts wait at a time.
      budgets.record({ length: 30, paddedCost: 600, realCost: 600, ms: CPU(600) });
    }
    assert.ok(budgets.settled);
    assert.ok(budgets.peek(30) >= 600, `${budgets.peek(30)} holds what waits`);
  });

  it("know the speed of each range of lengths, from full batches", () => {
    const budgets = new Budgets(sizing());
    assert.equal(budgets.rateOf(30), undefined);
    budgets.recordRate({ length: 30, paddedCost: 100, realCost: 90, ms: 50 });
    assert.equal(budgets.rateOf(20), 2);
    assert.equal(budgets.rateOf(40), undefined, "of another range");
    for (let at = 0; at < 100; at++) budgets.recordRate({ length: 30, paddedCost: 100, realCost: 90, ms: 25 });
    assert.ok(Math.abs(budgets.rateOf(30)! - 4) < 1e-6);
  });

  it("do not change if a budget is fixed", () => {
    const fixed = sizingOf({ task: "text-classification", dtype: "fp32", kind: "cpu", budget: 300 }).budgets;
    const budgets = new Budgets(fixed);
    run(budgets, 300, { lengths: LENGTHS, device: CPU });
    assert.deepEqual(new Set(LENGTHS.map((length) => budgets.peek(length))), new Set([300]));
    assert.ok(budgets.settled);
  });
});
