import type { ColumnType } from "../schemas/input.ts";
import { PARQUET_COLUMNS } from "./columns.ts";
import { BOOLEAN, columnOf, DOUBLE, INTEGER, type ParquetColumn, type ParquetType, TEXT } from "./parquet-types.ts";

/** A kept column: its name in the input, its name in Parquet, and its type. */
export type KeptColumn = { column: string; name: string; type: ColumnType };

/**
 * Names the kept columns in Parquet. If a column of rows has the name, it gets the prefix `input_`, repeated until it
 * is free.
 */
export function keptColumns(types: ReadonlyMap<string, ColumnType>): KeptColumn[] {
  const rowColumns = new Set(PARQUET_COLUMNS.map(({ name }) => name));
  const taken = new Set([...rowColumns, ...types.keys()]);
  return [...types].map(([column, type]) => {
    let name = column;
    if (rowColumns.has(name)) {
      while (taken.has(name)) name = `input_${name}`;
      taken.add(name);
    }
    return { column, name, type };
  });
}

export function keptParquetColumn({ column, name, type }: KeptColumn): ParquetColumn {
  return columnOf(name, TYPES[type], false, ({ input }) =>
    input && Object.hasOwn(input, column) ? input[column] : undefined,
  );
}

/** The Parquet type of each column type. `kept-column-kinds.ts` chooses a type that all values of the column fit. */
const TYPES: Record<ColumnType, ParquetType<never>> = {
  boolean: BOOLEAN,
  integer: INTEGER,
  number: DOUBLE,
  string: TEXT,
  timestamp: { element: { type: "INT64", converted_type: "TIMESTAMP_MICROS" }, convert: micros },
  datetime: {
    element: { type: "INT64", logical_type: { type: "TIMESTAMP", isAdjustedToUTC: false, unit: "MICROS" } },
    convert: (value: string) => micros(`${value}Z`),
  },
  date: { element: { type: "INT32", converted_type: "DATE" }, convert: days },
  json: { element: TEXT.element, convert: (value: unknown) => JSON.stringify(value) },
};

/** Days since 1970. @returns null for a text that is not a date */
function days(value: string): number | null {
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? null : Math.floor(ms / 86_400_000);
}

/**
 * Microseconds since 1970 of an instant in ISO 8601, which may have more digits than a Date holds.
 * @returns null for another text
 */
function micros(value: string): bigint | null {
  const ms = Date.parse(value);
  if (Number.isNaN(ms)) return null;
  const digits = /\.\d{3}(\d{1,3})/.exec(value)?.[1] ?? "0";
  return BigInt(ms) * 1000n + BigInt(digits.padEnd(3, "0"));
}
