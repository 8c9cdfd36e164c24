import { answerViews, NOT_FINITE_INDEX } from "./batch-buffer.ts";

/**
 * Writes the best `topK` labels of each row of `logits` ([count, labels], row after row) as a packed answer. Scores are the
 * softmax over all labels in float64, with the largest logit subtracted first. Among equal scores the lower index is better.
 */
export function writeAnswer(logits: Float32Array, count: number, topK: number, buffer: ArrayBuffer): void {
  const labels = logits.length / count;
  const { scores, indexes } = answerViews(buffer, count, topK);
  for (let item = 0; item < count; item++) {
    const [row, first] = [item * labels, item * topK];
    let allFinite = true;
    // The best logits so far are kept, sorted, in the place of their scores. An insertion sort is fast, since they are few.
    let kept = 0;
    for (let index = 0; index < labels; index++) {
      const logit = logits[row + index]!;
      allFinite &&= Number.isFinite(logit);
      if (kept === topK && !(logit > scores[first + topK - 1]!)) continue;
      let at = first + (kept < topK ? kept++ : topK - 1);
      for (; at > first && scores[at - 1]! < logit; at--) {
        scores[at] = scores[at - 1]!;
        indexes[at] = indexes[at - 1]!;
      }
      scores[at] = logit;
      indexes[at] = index;
    }
    if (!allFinite) {
      indexes[first] = NOT_FINITE_INDEX;
      continue;
    }
    const largest = scores[first]!;
    let sum = 0;
    for (let index = 0; index < labels; index++) sum += Math.exp(logits[row + index]! - largest);
    for (let at = first; at < first + topK; at++) scores[at] = Math.exp(scores[at]! - largest) / sum;
  }
}
