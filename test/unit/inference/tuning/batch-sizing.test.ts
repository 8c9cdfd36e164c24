import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SIMILAR } from "../../../../src/inference/batching/batch.ts";
import { type SizingOptions, sizingOf } from "../../../../src/inference/tuning/batch-sizing.ts";

const TEXT: SizingOptions = { task: "text-classification", dtype: "fp32", kind: "cpu" };
const GPU_TEXT: SizingOptions = { ...TEXT, dtype: "fp16", kind: "cuda" };
const GPU_IMAGES: SizingOptions = { ...GPU_TEXT, task: "image-classification" };

describe("sizingOf", () => {
  it("keeps the shapes of batches on the CPU, without a warm-up", () => {
    const { shapes, warmUp, budgets } = sizingOf(TEXT);
    assert.deepEqual(warmUp, []);
    assert.deepEqual(shapes.shapeOf(7, 33), { rows: 7, length: 33 });
    assert.deepEqual([budgets.sizesOf(512)[0], budgets.sizesOf(512).at(-1)], [512, 65_536]);
  });

  it("uses few shapes for texts on CUDA, warms up the largest first, and pads every batch up to 512 tokens to one of them", () => {
    const { shapes, warmUp, budgets } = sizingOf(GPU_TEXT);
    const costs = warmUp.map(({ rows, length }) => rows * length);
    assert.deepEqual(
      costs,
      costs.toSorted((a, b) => b - a),
    );
    assert.ok(warmUp.length <= 30, `${warmUp.length}`);
    const warmed = new Set(warmUp.map(({ rows, length }) => `${rows}×${length}`));
    for (const bucket of budgets.buckets.filter((each) => each <= 512)) {
      for (const budget of budgets.sizesOf(bucket)) {
        for (let count = 1; count * bucket <= budget; count++) {
          const { rows, length } = shapes.shapeOf(count, bucket - 1);
          assert.ok(warmed.has(`${rows}×${length}`), `${count} texts of ${bucket - 1} tokens run as ${rows}×${length}`);
          assert.ok(rows * length <= budget, "no more than the budget, padding included");
        }
      }
    }
  });

  it("uses at most two batch sizes for images on CUDA, with any budget", () => {
    for (const budget of [undefined, 1, 8, 20, 500]) {
      const { shapes, warmUp, budgets } = sizingOf({ ...GPU_IMAGES, budget });
      const rows = new Set(warmUp.map((shape) => shape.rows));
      assert.ok(rows.size <= 2);
      const most = budgets.sizesOf(1).at(-1)!;
      assert.equal(most, budget ?? 64);
      for (let count = 1; count <= most; count++) assert.ok(rows.has(shapes.shapeOf(count, 1).rows));
    }
  });

  it("keeps a fixed budget within the warmed-up shapes", () => {
    const { warmUp, budgets } = sizingOf({ ...GPU_TEXT, budget: 1000 });
    assert.deepEqual([16, 64, 512].map(budgets.sizesOf), [[256], [256], [512]]);
    assert.ok(warmUp.every(({ rows, length }) => rows === 1 || rows * length <= 1000));
  });

  it("limits a batch on the CPU exactly, and on CUDA to the largest warmed shape within the limit", () => {
    assert.equal(sizingOf(TEXT).shapes.largestWithin(333, 30), 333);
    const { shapes } = sizingOf(GPU_TEXT);
    const limits = [30, 32, 127, 128, 511, 512, 5000, 100_000];
    assert.deepEqual(
      limits.map((cost) => shapes.largestWithin(cost, 30)),
      [32, 32, 32, 4 * 32, 4 * 32, 16 * 32, 64 * 32, 256 * 32],
    );
    assert.equal(shapes.largestWithin(1, 600), Number.POSITIVE_INFINITY, "longer shapes are not warmed up");
    const images = sizingOf(GPU_IMAGES).shapes;
    assert.deepEqual(
      [1, 8, 63, 64, 500].map((cost) => images.largestWithin(cost, 1)),
      [8, 8, 8, 64, 64],
    );
  });

  it("combines only texts of one length if padding is on the left and shapes cost nothing", () => {
    assert.equal(sizingOf({ ...TEXT, paddingSide: "left" }).similar, 1);
    assert.equal(sizingOf({ ...TEXT, paddingSide: "right" }).similar, SIMILAR);
    assert.equal(sizingOf({ ...GPU_TEXT, paddingSide: "left" }).similar, SIMILAR);
  });

  it("runs the items of a dynamically quantized model one by one, and pads none in requested batches", () => {
    for (const task of ["text-classification", "image-classification"] as const) {
      const { budgets } = sizingOf({ ...TEXT, task, dtype: "q8" });
      assert.deepEqual([budgets.sizesOf(1), budgets.sizesOf(64)], [[1], [1]]);
    }
    assert.deepEqual(sizingOf({ ...TEXT, dtype: "q8", budget: 512 }).budgets.sizesOf(64), [512]);
    assert.equal(sizingOf({ ...TEXT, dtype: "q8", budget: 512 }).similar, 1);
    assert.equal(sizingOf(TEXT).similar, SIMILAR);
  });
});
