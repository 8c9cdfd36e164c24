import type { SchemaElement } from "hyparquet";
import type { Row } from "../schemas/row.ts";

/** A column of a Parquet file. `read` returns its value in a row, or null. */
export type ParquetColumn = { name: string; elements: SchemaElement[]; read: (row: Row) => unknown };

type Element = Pick<SchemaElement, "type" | "converted_type" | "logical_type">;

/**
 * A Parquet type whose values are written unchanged. `T` is only for the compiler, which refuses the type of a text for
 * a number.
 */
export type PlainType<T> = { element: Element; convert?: undefined; accepts?: (value: T) => void };

/** A Parquet type whose values are converted before they are written. */
export type ConvertedType<T> = { element: Element; convert: (value: T) => unknown };

export type ParquetType<T> = PlainType<T> | ConvertedType<T>;

export const TEXT: PlainType<string> = { element: { type: "BYTE_ARRAY", converted_type: "UTF8" } };
export const BOOLEAN: PlainType<boolean> = { element: { type: "BOOLEAN" } };
export const DOUBLE: PlainType<number> = { element: { type: "DOUBLE" } };
/** Integers of up to 64 bits, as a number or as digits. */
export const INTEGER: ConvertedType<number | string> = { element: { type: "INT64" }, convert: BigInt };

/** @param read returns the value in a row, or null or undefined */
export function columnOf(
  name: string,
  { element, convert }: ParquetType<never>,
  required: boolean,
  read: (row: Row) => unknown,
): ParquetColumn {
  return {
    name,
    elements: [elementOf(name, element, required)],
    read: (row) => {
      const value = read(row) ?? null;
      return value === null || !convert ? value : convert(value as never);
    },
  };
}

/** The schema of an optional list of objects with required fields. */
export function listElements(name: string, fields: Record<string, ParquetType<never>>): SchemaElement[] {
  return [
    { name, repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", repetition_type: "REQUIRED", num_children: Object.keys(fields).length },
    ...Object.entries(fields).map(([field, { element }]) => elementOf(field, element, true)),
  ];
}

function elementOf(name: string, element: Element, required: boolean): SchemaElement {
  return { name, ...element, repetition_type: required ? "REQUIRED" : "OPTIONAL" };
}
