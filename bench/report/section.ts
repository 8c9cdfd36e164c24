import type { Measure } from "./measure.ts";
import type { Table } from "./table.ts";

/** The result of one part of the benchmark, as a section of the page. */
export type Section = {
  title: string;
  /** Markdown prose, in pieces that a blank joins. */
  about: readonly string[];
  measures: Measure[];
  details: { about: string; table: Table }[];
};
