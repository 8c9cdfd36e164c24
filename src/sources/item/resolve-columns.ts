import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { quoted } from "../source.ts";

const LISTED_COLUMNS = 30;

/**
 * The options with the column resolved: the given one, else the first of `names` that the input has (in any case). A single column with
 * another name is not assumed: it may be the first record of a file without a header.
 * @param columns all columns in the order of the input, with duplicate names
 * @throws LabelmillError COLUMN_NOT_FOUND if the column, the id column, a kept or a filtered column is missing; COLUMN_AMBIGUOUS if one of
 * them occurs twice. The message lists the names or the positions
 */
export function resolveColumns(
  columns: readonly string[],
  read: ReadOptions,
  names: readonly string[],
  label: string,
): ReadOptions {
  const column = read.column ?? findNamed(columns, names, label);
  if (column === undefined) {
    const expected = `expected a column named ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
    const headerless = "; if it has no header and each line is a text, add --format lines";
    const fix = `name one with --column${columns.length === 1 && read.format === "csv" ? headerless : ""}`;
    throw new LabelmillError(
      "COLUMN_NOT_FOUND",
      `${label}: ${expected}, got ${columns.length === 0 ? "no columns" : `the columns ${list(columns)}`}; ${fix}`,
    );
  }
  for (const wanted of wantedOf({ ...read, column })) {
    if (columns.includes(wanted)) {
      refuseTwice(columns, (name) => name === wanted, wanted, label);
      continue;
    }
    const near = nearest(wanted, columns);
    const hint = near === undefined ? "" : `; did you mean ${quoted(near)}?`;
    throw new LabelmillError(
      "COLUMN_NOT_FOUND",
      `${label} has no column ${quoted(wanted)}: the columns are ${list(columns)}${hint}`,
    );
  }
  return { ...read, column };
}

/** The names of all requested columns. */
export function wantedOf({ column, idColumn, keep, where = [] }: ReadOptions): string[] {
  return [column, idColumn, ...keep, ...where.map((filter) => filter.column)].filter((name) => name !== null);
}

/** Whether a column has one of `names`, in any case. */
export function hasNamed(columns: readonly string[], names: readonly string[]): boolean {
  return columns.some((column) => names.includes(column.toLowerCase()));
}

function findNamed(columns: readonly string[], names: readonly string[], label: string): string | undefined {
  for (const name of names) {
    const isNamed = (column: string): boolean => column.toLowerCase() === name;
    const found = columns.find(isNamed);
    if (found === undefined) continue;
    refuseTwice(columns, isNamed, name, label);
    return found;
  }
  return undefined;
}

function refuseTwice(
  columns: readonly string[],
  isNamed: (column: string) => boolean,
  name: string,
  label: string,
): void {
  const places = columns.flatMap((column, index) => (isNamed(column) ? [index + 1] : []));
  if (places.length < 2) return;
  const found = places.slice(0, LISTED_COLUMNS).join(", ");
  const fix = `rename them so that only one is ${quoted(name)}, or name another with --column`;
  throw new LabelmillError(
    "COLUMN_AMBIGUOUS",
    `${label} has ${places.length} columns named ${quoted(name)} (columns ${found}): ${fix}`,
  );
}

function list(columns: readonly string[]): string {
  const more = columns.length > LISTED_COLUMNS ? ` and ${columns.length - LISTED_COLUMNS} more` : "";
  return columns.slice(0, LISTED_COLUMNS).map(quoted).join(", ") + more;
}

/** The column with the smallest edit distance to `wanted`, if that is at most two fifths of its length. */
export function nearest(wanted: string, columns: readonly string[]): string | undefined {
  let best: { column: string; edits: number } | undefined;
  for (const column of columns.slice(0, 1000)) {
    const edits = editDistance(wanted.toLowerCase(), column.toLowerCase());
    if (edits <= Math.ceil(wanted.length * 0.4) && (best === undefined || edits < best.edits)) best = { column, edits };
  }
  return best?.column;
}

/** The Levenshtein distance of the first 64 characters. */
function editDistance(left: string, right: string): number {
  let above = Array.from({ length: Math.min(right.length, 64) + 1 }, (_, index) => index);
  for (let row = 1; row <= Math.min(left.length, 64); row++) {
    const here = [row];
    for (let at = 1; at < above.length; at++) {
      const change = left[row - 1] === right[at - 1] ? 0 : 1;
      here.push(Math.min(above[at - 1]! + change, above[at]! + 1, here[at - 1]! + 1));
    }
    above = here;
  }
  return above.at(-1)!;
}
