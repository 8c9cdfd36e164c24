import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { unpackAnswer } from "../../../../src/inference/sessions/batch-buffer.ts";
import { writeAnswer } from "../../../../src/inference/sessions/scores.ts";

/** The best labels of a row, by sorting the row, with softmax by its definition. */
function sorted(row: readonly number[], topK: number) {
  const exps = row.map((logit) => Math.exp(logit - Math.max(...row)));
  const sum = exps.reduce((total, exp) => total + exp, 0);
  const order = row.map((_, index) => index).sort((a, b) => row[b]! - row[a]! || a - b);
  return order.slice(0, topK).map((index) => ({ index, score: exps[index]! / sum }));
}

it("returns the best labels of each row, and the first one among equal ones", () => {
  const labels = fc.integer({ min: 2, max: 40 });
  // Few values, so that many are equal.
  const rows = labels.chain((count) =>
    fc.record({
      rows: fc.array(fc.array(fc.integer({ min: -9, max: 9 }), { minLength: count, maxLength: count }), {
        minLength: 1,
      }),
      topK: fc.integer({ min: 1, max: count }),
    }),
  );
  fc.assert(
    fc.property(rows, ({ rows, topK }) => {
      const buffer = new ArrayBuffer(rows.length * topK * 12);
      writeAnswer(Float32Array.from(rows.flat()), rows.length, topK, buffer);
      const answers = unpackAnswer(buffer, rows.length, topK);
      assert.deepEqual(
        answers,
        rows.map((row) => sorted(row, topK)),
      );
    }),
  );
});
