import { answerViews, NOT_FINITE_INDEX } from "./packing.ts";

/**
 * Writes the best `topK` labels of each row of `logits` ([count, labels], row after row) as a packed answer. Scores are
 * softmax over all labels in float64, with the largest logit subtracted first; of equal scores the lower index is better.
 */
export function writeAnswer(logits: Float32Array, count: number, topK: number, buffer: ArrayBuffer): void {
  const labels = logits.length / count;
  const { scores, indexes } = answerViews(buffer, count, topK);
  for (let item = 0; item < count; item++) {
    const row = logits.subarray(item * labels, (item + 1) * labels);
    if (!row.every(Number.isFinite)) {
      indexes[item * topK] = NOT_FINITE_INDEX;
      continue;
    }
    const best = bestOf(row, topK);
    const largest = row[best[0]!]!;
    let sum = 0;
    for (const logit of row) sum += Math.exp(logit - largest);
    for (const [k, index] of best.entries()) {
      indexes[item * topK + k] = index;
      scores[item * topK + k] = Math.exp(row[index]! - largest) / sum;
    }
  }
}

/** The indexes of the `count` largest, the largest first: few of many, so each is put in its place among those kept. */
function bestOf(row: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let index = 0; index < row.length; index++) {
    const logit = row[index]!;
    if (best.length === count && !(logit > row[best[count - 1]!]!)) continue;
    if (best.length === count) best.pop();
    let at = best.length;
    while (at > 0 && row[best[at - 1]!]! < logit) at--;
    best.splice(at, 0, index);
  }
  return best;
}
