import { isUtf8 } from "node:buffer";

/** Values of some rows of a column, by their place among these rows. An array is one. */
export type Cells = { at(index: number): unknown };

/** A text whose bytes are not UTF-8: U+FFFD stands for what is not. */
export class RepairedText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A value that is too long to be read: how many bytes it has, as far as they were counted. */
export class LongValue {
  readonly bytes: number;
  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

/** The text that bytes hold. */
export function decodeText(bytes: Uint8Array): string | RepairedText {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  return text.includes("\ufffd") && !isUtf8(bytes) ? new RepairedText(text) : text;
}

/** A time since 1970 in ISO 8601, as exact as it is stored. @param perSecond 1000 or more; null where no date has it */
export function instant(value: bigint, perSecond: bigint): string | null {
  const perMs = perSecond / 1000n;
  const rest = ((value % perMs) + perMs) % perMs;
  const iso = isoOf(Number((value - rest) / perMs));
  if (iso === undefined || rest === 0n) return iso ?? null;
  const digits = String(rest).padStart(String(perMs).length - 1, "0");
  return iso.replace("Z", `${digits}Z`);
}

/** The day of a time in ms since 1970, `2024-01-02`; null where no date has it. */
export function dayOf(ms: number): string | null {
  return isoOf(ms)?.slice(0, -14) ?? null;
}

function isoOf(ms: number): string | undefined {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** Decimal digits that a double holds, whatever they are. */
const DOUBLE_DIGITS = 15;

/** Whether decimals of this precision are numbers; else they are texts of digits. */
export function isExactNumber(precision: number): boolean {
  return precision <= DOUBLE_DIGITS;
}

/** A decimal of these digits: a number where a double holds it exactly, else the text of its digits. */
export function decimalOf(unscaled: bigint, scale: number, precision: number): number | string {
  const text = withPoint(unscaled, scale);
  return isExactNumber(precision) ? Number(text) : text;
}

function withPoint(unscaled: bigint, scale: number): string {
  if (scale <= 0) return String(unscaled * 10n ** BigInt(-scale));
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
