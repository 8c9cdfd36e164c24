/** What one thing measured in several rounds came to. */
export type Summary = { median: number; min: number; max: number };

/** Rounds whose extremes lie further apart than this part of their median say little. */
export const STABLE_SPREAD = 0.1;

/** `values` are not empty. */
export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >>> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

export function isUnstable({ median, min, max }: Summary): boolean {
  return max - min > STABLE_SPREAD * median;
}

/** Runs the two sides in turn (A B A B …), so that whatever else the machine does in the meantime falls on both. */
export async function inTurn<A, B>(
  rounds: number,
  first: () => Promise<A>,
  second: () => Promise<B>,
  onRound: (round: number, a: A, b: B) => void,
): Promise<{ first: A[]; second: B[] }> {
  const results: { first: A[]; second: B[] } = { first: [], second: [] };
  for (let round = 1; round <= rounds; round++) {
    const a = await first();
    const b = await second();
    results.first.push(a);
    results.second.push(b);
    onRound(round, a, b);
  }
  return results;
}
