import { isUnstable, type Summary } from "./rounds.ts";
import type { Table } from "./table.ts";

/** One number of the page, in every round. */
export type Measure = {
  what: string;
  value: Summary;
  /** The sides that it is made of lie too far apart; undefined where that says nothing. */
  unstable: boolean | undefined;
  /** Its name among the figures. */
  figure: string | undefined;
};

/** What one part of the benchmark came to, as a section of the page. */
export type Section = {
  title: string;
  /** Markdown prose, in pieces that a blank joins. */
  about: readonly string[];
  measures: Measure[];
  details: { about: string; table: Table }[];
};

export function measure(what: string, value: Summary, figure?: string): Measure {
  return { what, value, unstable: isUnstable(value), figure };
}

/** One whose spread says nothing: of a tail, or of whole milliseconds. */
export function unmarked(what: string, value: Summary, figure?: string): Measure {
  return { what, value, unstable: undefined, figure };
}

/** A ratio of each round; it is worth what its sides are. */
export function ratio(what: string, value: Summary, sides: readonly Measure[], figure?: string): Measure {
  return { what, value, unstable: sides.some(({ unstable }) => unstable), figure };
}
