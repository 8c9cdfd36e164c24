import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { textCollator } from "../../../../src/inference/batching/collate.ts";
import { packBatch, packedBytes } from "../../../../src/inference/sessions/batch-buffer.ts";

const NAMES = ["input_ids", "attention_mask", "token_type_ids"];

function collated(side: "left" | "right" | undefined, texts: number[][], rows: number, length: number) {
  const items = texts.map((ids) => Int32Array.from(ids));
  const buffer = new ArrayBuffer(packedBytes(items, 1));
  packBatch(items, buffer);
  const inputs = textCollator(NAMES, 9, side)(buffer, items.length, { rows, length });
  return Object.fromEntries(inputs.map(({ name, data }) => [name, [...data].map(Number)]));
}

describe("texts as a model's inputs", () => {
  test("padded on the right, with rows to spare", () => {
    for (const side of [undefined, "right"] as const)
      assert.deepEqual(
        collated(
          side,
          [
            [1, 2],
            [3, 4, 5],
          ],
          3,
          4,
        ),
        {
          input_ids: [1, 2, 9, 9, 3, 4, 5, 9, 9, 9, 9, 9],
          attention_mask: [1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1],
          token_type_ids: Array(12).fill(0),
        },
      );
  });

  test("padded on the left", () => {
    assert.deepEqual(
      collated(
        "left",
        [
          [1, 2],
          [3, 4, 5],
        ],
        3,
        4,
      ),
      {
        input_ids: [9, 9, 1, 2, 9, 3, 4, 5, 9, 9, 9, 9],
        attention_mask: [0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
        token_type_ids: Array(12).fill(0),
      },
    );
  });
});
