import { isUtf8 } from "node:buffer";
import { hash } from "node:crypto";
import { LabelmillError, messageOf } from "../errors.ts";
import type { Receipt } from "../schemas/manifest.ts";
import { type Row, RowSchema } from "../schemas/row.ts";
import { isOrderedRow } from "./columns.ts";

/** The sums of a part. `labels` counts labeled rows by their best label, `errorCodes` rows in error by their code. */
export type PartSummary = {
  receipt: Receipt;
  labels: Record<string, number>;
  errorCodes: Record<string, number>;
};

export type EncodedPart = PartSummary & { bytes: Uint8Array };

const NEWLINE = 0x0a;

/**
 * Encodes rows as a part: one line of JSON for each row, with its keys in the order of the schema, and `\n` at its end.
 * @throws LabelmillError INTERNAL for a row that `readPart` would refuse. A part cannot be replaced, so it must not be
 * written.
 */
export function encodePart(rows: readonly Row[]): EncodedPart {
  const lines = rows.map((row, i) => JSON.stringify(inOrder(row, i)));
  // The last line has a newline too. A lone surrogate becomes an escape, so the text is always valid UTF-8.
  const text = [...lines, ""].join("\n");
  // Not Buffer.from: its bytes may be in a shared pool, which cannot be transferred to a thread.
  const bytes = new TextEncoder().encode(text);
  return { bytes, ...summarize(rows, bytes) };
}

/**
 * Reads the rows of a part, and their sums.
 * @throws LabelmillError PART_MISMATCH with the line number, from 1, for bytes that `encodePart` does not write: a
 * line that is not a row, a blank line, invalid UTF-8, a last line without its newline
 */
export function readPart(bytes: Uint8Array): PartSummary & { rows: Row[] } {
  const rows: Row[] = [];
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // One check of the whole part is faster than one of each line.
  const isValid = isUtf8(bytes);
  for (let start = 0; start < buffer.length; ) {
    const number = rows.length + 1;
    const end = buffer.indexOf(NEWLINE, start);
    if (end === -1) throw mismatch(number, "no newline at its end: the part is cut");
    if (!isValid && !isUtf8(buffer.subarray(start, end))) throw mismatch(number, "invalid UTF-8");
    rows.push(readRow(buffer.toString("utf8", start, end), number));
    start = end + 1;
  }
  return { rows, ...summarize(rows, bytes) };
}

function readRow(line: string, number: number): Row {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw mismatch(number, line === "" ? "blank" : messageOf(error), error);
  }
  if (isOrderedRow(value)) return value;
  const { data, error } = RowSchema.safeParse(value);
  if (error) throw mismatch(number, error.message, error);
  return data;
}

/**
 * A row with its columns in order. The worker builds rows in this order, so that the check by zod, which takes as long
 * as everything else here, is not needed.
 */
function inOrder(row: Row, index: number): Row {
  if (isOrderedRow(row)) return row;
  const { data, error } = RowSchema.safeParse(row);
  if (error) throw new LabelmillError("INTERNAL", `row ${index} is not a row: ${error.message.slice(0, 500)}`);
  return data;
}

function summarize(rows: readonly Row[], bytes: Uint8Array): PartSummary {
  // Maps, because a label may be called `constructor` or `__proto__`.
  const labels = new Map<string, number>();
  const errorCodes = new Map<string, number>();
  for (const row of rows) {
    if ("error" in row) errorCodes.set(row.error.code, (errorCodes.get(row.error.code) ?? 0) + 1);
    else labels.set(row.label, (labels.get(row.label) ?? 0) + 1);
  }
  let errors = 0;
  for (const count of errorCodes.values()) errors += count;
  return {
    receipt: { rows: rows.length, errors, bytes: bytes.length, sha256: hash("sha256", bytes, "hex") },
    labels: Object.fromEntries(labels),
    errorCodes: Object.fromEntries(errorCodes),
  };
}

function mismatch(line: number, why: string, cause?: unknown): LabelmillError {
  return new LabelmillError(
    "PART_MISMATCH",
    `expected a part with one row in each line; line ${line}: ${why.slice(0, 500)}`,
    {
      cause,
    },
  );
}
