import { isUnstable, type Summary } from "./rounds.ts";

/** A table: its head, and its rows; the first column is of words, the others are of numbers. */
export type Table = { head: string[]; rows: string[][] };

/** The head over `summaryRow`s. */
export const SUMMARY_HEAD = ["", "median", "least", "most", ""];

export function summaryRow(name: string, summary: Summary, { mark } = { mark: true }): string[] {
  const { median, min, max } = summary;
  return [name, number(median), number(min), number(max), mark && isUnstable(summary) ? "unstable" : ""];
}

/** A ratio of two medians is worth what these are. */
export function ratioRow(name: string, ratio: number, unstable: boolean): string[] {
  return [name, ratio.toFixed(3), "", "", unstable ? "unstable" : ""];
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
