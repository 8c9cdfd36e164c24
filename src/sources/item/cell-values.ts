import { isUtf8 } from "node:buffer";

/** Values of consecutive rows of a column, by index. An array is one. */
export type Cells = { at(index: number): unknown };

/** A text whose bytes are not valid UTF-8. U+FFFD replaces the invalid bytes. */
export class RepairedText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A value that is too long to be read. `bytes`: its length, or a lower bound of it. */
export class LongValue {
  readonly bytes: number;
  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

/** Decodes UTF-8. */
export function decodeText(bytes: Uint8Array): string | RepairedText {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  return text.includes("\ufffd") && !isUtf8(bytes) ? new RepairedText(text) : text;
}

/** A time since 1970 in ISO 8601, with the stored precision; null if it is out of the range of dates. @param perSecond units per second, 1000 or more */
export function instant(value: bigint, perSecond: bigint): string | null {
  const perMs = perSecond / 1000n;
  const rest = ((value % perMs) + perMs) % perMs;
  const iso = isoOf(Number((value - rest) / perMs));
  if (iso === undefined || rest === 0n) return iso ?? null;
  const digits = String(rest).padStart(String(perMs).length - 1, "0");
  return iso.replace("Z", `${digits}Z`);
}

/** The day (`2024-01-02`) of a time in ms since 1970; null if it is out of the range of dates. */
export function dayOf(ms: number): string | null {
  return isoOf(ms)?.slice(0, -14) ?? null;
}

function isoOf(ms: number): string | undefined {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** Any number of this many decimal digits is exact in a double. */
const DOUBLE_DIGITS = 15;

/** Whether decimals of this precision become numbers. Others become texts of digits. */
export function isExactNumber(precision: number): boolean {
  return precision <= DOUBLE_DIGITS;
}

/** A decimal: a number if a double represents it exactly, else the text of its digits. */
export function decimalOf(unscaled: bigint, scale: number, precision: number): number | string {
  const text = withPoint(unscaled, scale);
  return isExactNumber(precision) ? Number(text) : text;
}

function withPoint(unscaled: bigint, scale: number): string {
  if (scale <= 0) return String(unscaled * 10n ** BigInt(-scale));
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
