import type { Measure } from "./measure.ts";

/** A table: its head, and its rows; the first column is of words, the others are of numbers. */
export type Table = { head: string[]; rows: string[][] };

export function measureTable(measures: readonly Measure[]): Table {
  const rows = measures.map(({ what, value: { median, min, max }, unstable }) => [
    what,
    number(median),
    number(min),
    number(max),
    unstable ? "unstable" : "",
  ]);
  return { head: ["", "median", "min", "max", ""], rows };
}

/** 1,234 · 123.4 · 12.34 · 1.234 */
export function number(value: number): string {
  if (Number.isInteger(value) || value >= 1000) return Math.round(value).toLocaleString("en");
  return value.toPrecision(4);
}

export function render({ head, rows }: Table): string[] {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(" | ")} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? ` ${"-".repeat(width)} ` : ` ${"-".repeat(width - 1)}: `)).join("|")}|`;
  return [line(head), rule, ...rows.map(line)];
}
