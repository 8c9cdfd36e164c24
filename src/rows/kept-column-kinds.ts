import type { ColumnType } from "../schemas/input.ts";
import type { Row } from "../schemas/row.ts";

/**
 * The kinds of values in kept columns. `integer` fits a double exactly. `digits` is a string with an integer of 64 bits
 * that does not.
 */
export const COLUMN_KINDS = ["boolean", "integer", "digits", "number", "string", "json", "null"] as const;
export type ColumnKind = (typeof COLUMN_KINDS)[number];

/** The kinds of values in each kept column of the rows. */
export function kindsIn(rows: readonly Row[]): Map<string, Set<ColumnKind>> {
  const kinds = new Map<string, Set<ColumnKind>>();
  for (const { input } of rows)
    for (const [column, value] of Object.entries(input ?? {})) {
      const known = kinds.get(column);
      if (known) known.add(kindOf(value));
      else kinds.set(column, new Set([kindOf(value)]));
    }
  return kinds;
}

/** The narrowest type that fits values of all these kinds. Null fits every type. */
export function typeOfKinds(kinds: ReadonlySet<ColumnKind>): ColumnType {
  // Together with integers, digits are an integer. Together with texts, they are a text.
  const digits = kinds.has("integer") && !kinds.has("string") ? "integer" : "string";
  const kindsOfValues = [...kinds].filter((kind) => kind !== "null");
  const [first, ...rest] = new Set(kindsOfValues.map((kind) => (kind === "digits" ? digits : kind)));
  if (first === undefined) return "string";
  if (rest.length === 0) return first;
  return [first, ...rest].every((kind) => kind === "integer" || kind === "number") ? "number" : "json";
}

/** Whether values of these kinds fit the type that an input declares for their column. */
export function fits(type: ColumnType, kinds: ReadonlySet<ColumnKind>): boolean {
  const found = typeOfKinds(kinds);
  const isEmpty = [...kinds].every((kind) => kind === "null");
  if (isEmpty || type === found || type === "json") return true;
  // The Parquet reader returns integers that a double would round as digits.
  if (type === "integer") return [...kinds].every((kind) => ["integer", "digits", "null"].includes(kind));
  if (type === "number") return found === "integer";
  return (type === "timestamp" || type === "datetime" || type === "date") && found === "string";
}

function kindOf(value: unknown): ColumnKind {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return isLongInteger(value) ? "digits" : "string";
  if (typeof value === "boolean") return "boolean";
  if (typeof value === "number") return Number.isSafeInteger(value) ? "integer" : "number";
  return "json";
}

function isLongInteger(text: string): boolean {
  if (text.length < 16 || text.length > 20 || !/^-?[1-9]\d*$/.test(text)) return false;
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value && !Number.isSafeInteger(Number(text));
}
