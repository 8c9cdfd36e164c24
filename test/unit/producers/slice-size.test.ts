import assert from "node:assert/strict";
import { test } from "node:test";
import { sliceItemsFor } from "../../../src/producers/planning/slice-size.ts";
import { SliceWindow } from "../../../src/producers/planning/slice-window.ts";
import { servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";

const digest = "ab".repeat(32);
const at = (itemsPerSecond: number | null) =>
  workerInfo({ models: [servedModel(), servedModel({ digest, itemsPerSecond })] });

test("a slice has the items that the slowest worker labels in ten seconds, within limits; a number that the user sets has priority", () => {
  assert.equal(sliceItemsFor([at(900), at(120.4), at(null)], digest), 1204);
  assert.equal(sliceItemsFor([at(0.5)], digest), 64);
  assert.equal(sliceItemsFor([at(1_000_000)], digest), 20_000);
  assert.equal(sliceItemsFor([at(900)], digest, 7), 7);
});

test("if no rate is known, a slice has 500 items", () => {
  assert.equal(sliceItemsFor([], digest), 500);
  assert.equal(sliceItemsFor([at(null)], digest), 500);
  assert.equal(sliceItemsFor([workerInfo({ models: [servedModel({ itemsPerSecond: 9 })] })], digest), 500);
});

test("the window limits the number of slices and the bytes of the items in their jobs", () => {
  const window = new SliceWindow(5);
  assert.ok(window.fits(4, 0));
  assert.ok(!window.fits(5, 0));
  assert.ok(window.fits(0, 99_000_000), "a slice alone always fits");
  window.add(40_000_000);
  assert.ok(window.fits(1, 24_000_000));
  window.add(24_000_000);
  assert.ok(!window.fits(2, 1));
  assert.ok(window.fits(2, 0), "a split counts no bytes");
  window.shrinkTo(1);
  assert.ok(window.fits(1, 40_000_000));
  assert.ok(!window.fits(1, 41_000_000));
});
