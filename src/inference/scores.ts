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
    const order = Uint32Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
    const largest = row[order[0]!]!;
    let sum = 0;
    for (const logit of row) sum += Math.exp(logit - largest);
    for (let k = 0; k < topK; k++) {
      const index = order[k]!;
      indexes[item * topK + k] = index;
      scores[item * topK + k] = Math.exp(row[index]! - largest) / sum;
    }
  }
}
