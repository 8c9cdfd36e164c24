import type { Machine, Versions } from "./machine.ts";
import type { Section } from "./section.ts";

/** One benchmark: its options and its results. */
export type Benchmark = {
  date: string;
  command: string;
  /** Rough and short. */
  quick: boolean;
  rounds: number;
  seconds: number;
  machine: Machine;
  versions: Versions;
  engine: Section[];
  service: Section[];
  bulk: Section[];
  /** What could not be measured here, and why. */
  missing: string[];
};

export type Figures = Record<string, number>;

/** Every figure by its name. A figure measured in rounds is their median. */
export function figuresOf({ engine, service, bulk }: Benchmark): Figures {
  const measures = [...engine, ...service, ...bulk].flatMap((section) => section.measures);
  const named = measures.flatMap(({ figure, value }) => (figure === undefined ? [] : [[figure, round(value.median)]]));
  return Object.fromEntries(named);
}

/** Four significant digits: more would suggest a precision that does not exist. */
function round(value: number): number {
  return Number(value.toPrecision(4));
}
