import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Layout, LayoutSearch, layoutsOf, usualLayout } from "../../../../src/inference/tuning/thread-layouts.ts";

const shown = ({ threads, intraOpThreads }: Layout) => `${threads}×${intraOpThreads}`;

describe("layoutsOf", () => {
  it("use all cores, and include the usual layout", () => {
    assert.deepEqual(layoutsOf(1).map(shown), ["1×1"]);
    assert.deepEqual(layoutsOf(2).map(shown), ["1×2", "2×1"]);
    assert.deepEqual(layoutsOf(8).map(shown), ["1×8", "2×4", "4×2", "8×1"]);
    assert.deepEqual(layoutsOf(7).map(shown), ["1×7", "4×1", "7×1"]);
    assert.deepEqual([1, 2, 3, 4, 8, 64].map(usualLayout).map(shown), ["1×1", "2×1", "3×1", "4×1", "4×2", "4×16"]);
  });
});

/** Runs a search with a total rate for each number of threads. @returns the layouts tried, and the last one */
function search(cores: number, rates: Record<number, number>) {
  const layouts = new LayoutSearch(layoutsOf(cores), usualLayout(cores));
  const tried = [shown(layouts.current)];
  while (!layouts.done) {
    const { threads } = layouts.current;
    const perThread = rates[threads]! / threads;
    const next = layouts.record(
      new Map([
        [32, perThread],
        [128, perThread / 2],
      ]),
    );
    if (next) tried.push(shown(next));
  }
  return { tried, end: shown(layouts.current) };
}

describe("LayoutSearch", () => {
  it("tries the neighbours of the best layout, and ends with the best", () => {
    assert.deepEqual(search(2, { 1: 65.6, 2: 67 }), { tried: ["2×1", "1×2", "2×1"], end: "2×1" });
    assert.deepEqual(search(2, { 1: 80, 2: 67 }), { tried: ["2×1", "1×2"], end: "1×2" });
    assert.deepEqual(search(8, { 1: 50, 2: 90, 4: 70, 8: 60 }), { tried: ["4×2", "2×4", "1×8", "2×4"], end: "2×4" });
    assert.deepEqual(search(8, { 2: 60, 4: 70, 8: 90 }), { tried: ["4×2", "2×4", "8×1"], end: "8×1" });
  });

  it("does not leave a layout for a gain within the noise", () => {
    assert.equal(search(2, { 1: 68.5, 2: 67 }).end, "2×1");
  });

  it("goes back if a layout cannot be started", () => {
    const layouts = new LayoutSearch(layoutsOf(2), usualLayout(2));
    assert.equal(shown(layouts.record(new Map([[32, 1]]))!), "1×2");
    assert.equal(shown(layouts.failed()), "2×1");
    assert.ok(layouts.done);
  });

  it("does not search if the layout is given", () => {
    const layouts = new LayoutSearch([{ threads: 3, intraOpThreads: 2 }], { threads: 3, intraOpThreads: 2 });
    assert.ok(layouts.done);
    assert.equal(layouts.record(new Map([[32, 1]])), undefined);
  });
});
