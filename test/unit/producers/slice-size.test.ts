import assert from "node:assert/strict";
import { test } from "node:test";
import { Outstanding } from "../../../src/producers/planning/outstanding.ts";
import { sliceItemsFor } from "../../../src/producers/planning/slice-size.ts";
import { servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";

const digest = "ab".repeat(32);
const at = (itemsPerSecond: number | null) =>
  workerInfo({ models: [servedModel(), servedModel({ digest, itemsPerSecond })] });

test("a slice is what the slowest worker labels in ten seconds, within bounds; what was asked for goes before", () => {
  assert.equal(sliceItemsFor([at(900), at(120.4), at(null)], digest), 1204);
  assert.equal(sliceItemsFor([at(0.5)], digest), 64);
  assert.equal(sliceItemsFor([at(1_000_000)], digest), 20_000);
  assert.equal(sliceItemsFor([at(900)], digest, 7), 7);
});

test("where no rate is known a slice has 500 items", () => {
  assert.equal(sliceItemsFor([], digest), 500);
  assert.equal(sliceItemsFor([at(null)], digest), 500);
  assert.equal(sliceItemsFor([workerInfo({ models: [servedModel({ itemsPerSecond: 9 })] })], digest), 500);
});

test("slices that are outstanding are bounded by their number and, where their items travel, by their bytes", () => {
  const outstanding = new Outstanding(5);
  assert.ok(outstanding.fits(4, 0));
  assert.ok(!outstanding.fits(5, 0));
  assert.ok(outstanding.fits(0, 99_000_000), "one alone always fits");
  outstanding.add(40_000_000);
  assert.ok(outstanding.fits(1, 24_000_000));
  outstanding.add(24_000_000);
  assert.ok(!outstanding.fits(2, 1));
  assert.ok(outstanding.fits(2, 0), "addresses weigh nothing");
  outstanding.left(1);
  assert.ok(outstanding.fits(1, 40_000_000));
  assert.ok(!outstanding.fits(1, 41_000_000));
});
