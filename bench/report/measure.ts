import { isUnstable, type Summary } from "./rounds.ts";

/** One number of the page, in every round. */
export type Measure = {
  what: string;
  value: Summary;
  /** The rounds of its sides differ too much; undefined if that has no meaning. */
  unstable: boolean | undefined;
  /** Its name among the figures. */
  figure: string | undefined;
};

export function measure(what: string, value: Summary, figure?: string): Measure {
  return { what, value, unstable: isUnstable(value), figure };
}

/** A measure whose spread has no meaning: of a tail, or in whole milliseconds. */
export function unmarked(what: string, value: Summary, figure?: string): Measure {
  return { what, value, unstable: undefined, figure };
}

/** A ratio of each round. It is unstable if one of its sides is. */
export function ratio(what: string, value: Summary, sides: readonly Measure[], figure?: string): Measure {
  return { what, value, unstable: sides.some(({ unstable }) => unstable), figure };
}
