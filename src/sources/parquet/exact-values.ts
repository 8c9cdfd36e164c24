import type { FileMetaData, SchemaElement, SchemaTree } from "hyparquet";
import { decimalOf, isExactNumber } from "../item/cell-values.ts";

/** Converts a stored value of a column, or null, to the value of a row. */
export type ExactReader = (value: unknown) => unknown;

/** Whether the values of a decimal column become numbers. Otherwise they become texts of digits. */
export function isNumber({ precision = 0 }: SchemaElement): boolean {
  return isExactNumber(precision);
}

export function isDecimal({ converted_type: converted, logical_type: logical }: SchemaElement): boolean {
  return converted === "DECIMAL" || logical?.type === "DECIMAL";
}

/** Whether a column has timestamps without a time zone. */
export function isLocal({ logical_type: logical }: SchemaElement): boolean {
  return logical?.type === "TIMESTAMP" && !logical.isAdjustedToUTC;
}

/**
 * The library converts decimals to doubles, and timestamps without a zone to UTC. For exact values, the returned metadata hides the type of
 * decimals, so that the library returns the stored value, and the readers remove the zone from timestamps. Only top-level columns are
 * converted, not those within lists and structs.
 */
export function exactReaders(
  metadata: FileMetaData,
  columns: Iterable<SchemaTree>,
): { metadata: FileMetaData; readers: Map<string, ExactReader> } {
  const readers = new Map<string, ExactReader>();
  const bare = new Map<SchemaElement, SchemaElement>();
  for (const { element, children } of columns) {
    if (children.length > 0 || element.repetition_type === "REPEATED") continue;
    if (isLocal(element)) readers.set(element.name, withoutZone);
    if (!isDecimal(element)) continue;
    const { converted_type: _converted, logical_type: _logical, ...rest } = element;
    bare.set(element, rest);
    readers.set(element.name, decimalReader(element));
  }
  return { metadata: { ...metadata, schema: metadata.schema.map((each) => bare.get(each) ?? each) }, readers };
}

function withoutZone(value: unknown): unknown {
  return typeof value === "string" ? value.replace(/Z$/, "") : value;
}

function decimalReader(element: SchemaElement): ExactReader {
  const { scale = 0, precision = 0 } = element;
  return (value) => {
    const unscaled = integerOf(value);
    return unscaled === undefined ? null : decimalOf(unscaled, scale, precision);
  };
}

function integerOf(value: unknown): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(value);
  if (!(value instanceof Uint8Array)) return undefined;
  // Big-endian, in two's complement.
  const digits = Buffer.from(value.buffer, value.byteOffset, value.length).toString("hex");
  return BigInt.asIntN(8 * value.length, BigInt(`0x${digits || "0"}`));
}
