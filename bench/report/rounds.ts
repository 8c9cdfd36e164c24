/** Items that a side processed, and the time that this took. */
export type Rate = { items: number; seconds: number };

/** The summary of one measurement over several rounds. */
export type Summary = { median: number; min: number; max: number };

/** Rounds whose extremes differ by more than this share of their median are unstable. */
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

/** The value below which that share of them lies, 0..1, of which `values` has one (nearest rank). They are not empty. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

/** Items above the expected number, so that the time is filled. */
export const MARGIN = 1.05;

export function rateOf({ items, seconds }: Rate): number {
  return items / seconds;
}

export function shown(run: Rate): string {
  return rateOf(run).toFixed(1);
}

type Sides = Record<string, () => Promise<unknown>>;
export type Round<S extends Sides> = { [Side in keyof S]: Awaited<ReturnType<S[Side]>> };

/** Runs the sides in turn (A B A B …), so that other load of the machine affects all of them. */
export async function inTurn<S extends Sides>(
  rounds: number,
  sides: S,
  onRound: (round: number, results: Round<S>) => void,
): Promise<Round<S>[]> {
  const all: Round<S>[] = [];
  for (let round = 1; round <= rounds; round++) {
    const results: Record<string, unknown> = {};
    for (const [name, side] of Object.entries(sides)) results[name] = await side();
    all.push(results as Round<S>);
    onRound(round, results as Round<S>);
  }
  return all;
}
