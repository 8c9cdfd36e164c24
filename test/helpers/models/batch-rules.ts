import { type BatchRules, SIMILAR } from "../../../src/inference/batching/batch.ts";

/** Rules with one budget and no padding beyond the longest item. @param costPerMs the measured speed. Default: not measured */
export function fixedRules(budget: number, costPerMs = Number.POSITIVE_INFINITY): BatchRules {
  return {
    next: () => budget,
    peek: () => budget,
    within: (_length, ms) => ms * costPerMs,
    reach: budget,
    lengthOf: (length) => length,
    similar: SIMILAR,
  };
}
