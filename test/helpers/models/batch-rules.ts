import { type BatchRules, SIMILAR } from "../../../src/inference/batching/batch.ts";

/** Rules with one budget and no padding beyond the longest item. */
export function fixedRules(budget: number): BatchRules {
  return { next: () => budget, peek: () => budget, reach: budget, lengthOf: (length) => length, similar: SIMILAR };
}
