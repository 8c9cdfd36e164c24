import { type BatchRules, SIMILAR } from "../../../src/inference/batching/batch.ts";

/** Batches of one budget, padded to nothing but their longest. */
export function fixedRules(budget: number): BatchRules {
  return { next: () => budget, peek: () => budget, reach: budget, lengthOf: (length) => length, similar: SIMILAR };
}
