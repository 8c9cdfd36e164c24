import type { DataType, Date_, Decimal, Field, Float, Int, Time, Timestamp } from "apache-arrow";
import type { ColumnType } from "../../schemas/input.ts";
import { dayOf, decimalOf, instant, isExactNumber } from "../item/cell-values.ts";
import { isBytes, isList, TYPE, valueType } from "./layout.ts";

/** The width of a value in bytes, and a function that reads it at an offset of a buffer. */
export type FixedReader = { width: number; read(bytes: Buffer, at: number): unknown };

const MS_OF_DAY = 86_400_000;
/** The largest absolute scale of a decimal: the number of digits of the longest one. */
const MAX_SCALE = 76;
const UNITS_PER_SECOND = [1n, 1000n, 1_000_000n, 1_000_000_000n];
const TYPE_NAMES: Record<number, string> = { [TYPE.interval]: "Interval", [TYPE.union]: "Union" };

const int32: FixedReader = { width: 4, read: (bytes, at) => bytes.readInt32LE(at) };
const int64 = { width: 8, read: (bytes: Buffer, at: number) => bytes.readBigInt64LE(at) };

/** The reader of a type of fixed width: numbers, decimals, dates and times. @throws Error if the type is unknown */
export function fixedReader(type: DataType): FixedReader {
  switch (type.typeId) {
    case TYPE.int:
      return intReader(type as Int);
    case TYPE.float:
      return floatReader(type as Float);
    case TYPE.decimal:
      return decimalReader(type as Decimal);
    case TYPE.date:
      if ((type as Date_).unit === 0)
        return { width: 4, read: (bytes, at) => dayOf(bytes.readInt32LE(at) * MS_OF_DAY) };
      return { width: 8, read: (bytes, at) => dayOf(Number(bytes.readBigInt64LE(at))) };
    case TYPE.time:
      return (type as Time).bitWidth === 32 ? int32 : int64;
    case TYPE.duration:
      return int64;
    case TYPE.timestamp:
      return timestampReader(type as Timestamp);
  }
  throw new Error(`the type ${type} is not supported`);
}

function intReader({ bitWidth, isSigned }: Int): FixedReader {
  switch (bitWidth) {
    case 8:
      return { width: 1, read: (bytes, at) => (isSigned ? bytes.readInt8(at) : bytes.readUInt8(at)) };
    case 16:
      return { width: 2, read: (bytes, at) => (isSigned ? bytes.readInt16LE(at) : bytes.readUInt16LE(at)) };
    case 32:
      return isSigned ? int32 : { width: 4, read: (bytes, at) => bytes.readUInt32LE(at) };
    case 64:
      return isSigned ? int64 : { width: 8, read: (bytes, at) => bytes.readBigUInt64LE(at) };
    default:
      throw new Error(`expected an integer of 8, 16, 32 or 64 bits, got ${bitWidth}`);
  }
}

function floatReader({ precision }: Float): FixedReader {
  if (precision === 0) return { width: 2, read: (bytes, at) => halfOf(bytes.readUInt16LE(at)) };
  if (precision === 1) return { width: 4, read: (bytes, at) => bytes.readFloatLE(at) };
  return { width: 8, read: (bytes, at) => bytes.readDoubleLE(at) };
}

/** A 16-bit floating-point number: sign, 5 bits of exponent, 10 bits of fraction. */
function halfOf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 0x3ff) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

function decimalReader({ bitWidth, scale, precision }: Decimal): FixedReader {
  const width = bitWidth / 8;
  if (![4, 8, 16, 32].includes(width))
    throw new Error(`expected a decimal of 32, 64, 128 or 256 bits, got ${bitWidth}`);
  return { width, read: (bytes, at) => decimalOf(wholeOf(bytes, at, width), scale, precision) };
}

/** A little-endian integer in two's complement. */
function wholeOf(bytes: Buffer, at: number, width: number): bigint {
  if (width === 4) return BigInt(bytes.readInt32LE(at));
  let whole = bytes.readBigInt64LE(at + width - 8);
  for (let word = at + width - 16; word >= at; word -= 8) whole = (whole << 64n) | bytes.readBigUInt64LE(word);
  return whole;
}

function timestampReader({ unit, timezone }: Timestamp): FixedReader {
  const perSecond = UNITS_PER_SECOND[unit] ?? 1000n;
  const [factor, per] = perSecond === 1n ? [1000n, 1000n] : [1n, perSecond];
  const isLocal = !timezone;
  return {
    width: 8,
    read(bytes, at) {
      const text = instant(bytes.readBigInt64LE(at) * factor, per);
      return isLocal ? (text?.replace(/Z$/, "") ?? null) : text;
    },
  };
}

/** The name of an unsupported type of a column or within it. Undefined if all types are supported. */
export function unreadableKind(type: DataType): string | undefined {
  const own = valueType(type);
  if (own.typeId === TYPE.decimal) {
    const { scale, precision } = own as Decimal;
    const isSound = Math.abs(scale) <= MAX_SCALE && precision > 0 && precision <= MAX_SCALE;
    return isSound ? undefined : `Decimal(${precision}, ${scale})`;
  }
  if (TYPE_NAMES[own.typeId] !== undefined) return TYPE_NAMES[own.typeId];
  const children = (own.children ?? []) as readonly Field[];
  return children.map((child) => unreadableKind(child.type)).find((found) => found !== undefined);
}

/** The type of a kept column. */
export function columnType(type: DataType): ColumnType {
  const own = valueType(type);
  if (isList(own) || own.typeId === TYPE.struct || own.typeId === TYPE.fixedList) return "json";
  if (isBytes(own)) return "string";
  switch (own.typeId) {
    case TYPE.bool:
      return "boolean";
    case TYPE.int:
    case TYPE.time:
    case TYPE.duration:
      return "integer";
    case TYPE.float:
      return "number";
    case TYPE.decimal:
      return isExactNumber((own as Decimal).precision) ? "number" : "string";
    case TYPE.date:
      return "date";
    case TYPE.timestamp:
      return (own as Timestamp).timezone ? "timestamp" : "datetime";
    default:
      return "string";
  }
}
