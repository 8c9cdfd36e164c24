import type { FileMetaData, SchemaElement, SchemaTree } from "hyparquet";
import { decimalOf, isExactNumber } from "../item/cell-values.ts";

/** A value of a column as it is stored, nulls included, as the project has it. */
export type ExactReader = (value: unknown) => unknown;

/** Whether a decimal column's values are numbers; else they are texts of digits. */
export function isNumber({ precision = 0 }: SchemaElement): boolean {
  return isExactNumber(precision);
}

export function isDecimal({ converted_type: converted, logical_type: logical }: SchemaElement): boolean {
  return converted === "DECIMAL" || logical?.type === "DECIMAL";
}

/** Whether a timestamp is one of no zone: a date and a time of day, wherever. */
export function isLocal({ logical_type: logical }: SchemaElement): boolean {
  return logical?.type === "TIMESTAMP" && !logical.isAdjustedToUTC;
}

/**
 * The library makes doubles of decimals, and instants of times without a zone. Here it is told nothing of the first, so that it hands
 * over what is stored, and the second lose the zone again. Only columns of their own: those within lists and structs stay as they come.
 */
export function exactly(
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
