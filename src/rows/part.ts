import { hash } from "node:crypto";
import { LabelmillError, messageOf } from "../errors.ts";
import type { Receipt } from "../schemas/manifest.ts";
import { type Row, RowSchema } from "../schemas/row.ts";
import { isRow } from "./row-check.ts";

/** What a part holds in sum. `labels` counts labeled rows by their best label, `errorCodes` the others by their code. */
export type PartSummary = {
  receipt: Receipt;
  labels: Record<string, number>;
  errorCodes: Record<string, number>;
};

export type EncodedPart = PartSummary & { bytes: Uint8Array };

const NEWLINE = 0x0a;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A part's bytes: a row a line, in their order, each as JSON with its keys in the schema's order and `\n` after it.
 * @throws LabelmillError INTERNAL for a row that `readPart` would refuse: the first write stands, so it must not be written
 */
export function encodePart(rows: readonly Row[]): EncodedPart {
  let text = "";
  for (const [i, row] of rows.entries()) {
    // zod's own check takes as long as all the rest; what the plain one does not know, zod decides.
    const checked = isRow(row) ? undefined : RowSchema.safeParse(row);
    if (checked?.success === false)
      throw new LabelmillError("INTERNAL", `row ${i} is not a row: ${checked.error.message.slice(0, 500)}`);
    // A lone surrogate becomes an escape, so what follows is always valid UTF-8.
    text += `${JSON.stringify(inOrder(row))}\n`;
  }
  // Not Buffer.from: its bytes may lie in a pool, which a transfer to a thread would take away from everybody.
  const bytes = new TextEncoder().encode(text);
  return { bytes, ...summarize(rows, bytes) };
}

/**
 * The rows of a part, and what they come to.
 * @throws LabelmillError PART_MISMATCH with the line's number, from 1, for bytes that `encodePart` does not write: a line
 * that is no row, a blank one, invalid UTF-8, a last line without its newline
 */
export function readPart(bytes: Uint8Array): PartSummary & { rows: Row[] } {
  const rows: Row[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, start);
    if (end === -1) throw mismatch(rows.length + 1, "no newline at its end: the part is cut");
    rows.push(readRow(bytes.subarray(start, end), rows.length + 1));
    start = end + 1;
  }
  return { rows, ...summarize(rows, bytes) };
}

function readRow(line: Uint8Array, number: number): Row {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(line));
  } catch (error) {
    throw mismatch(number, line.length === 0 ? "blank" : messageOf(error), error);
  }
  const checked = isRow(value) ? undefined : RowSchema.safeParse(value);
  if (checked?.success === false) throw mismatch(number, checked.error.message, checked.error);
  // Not checked.data: zod leaves out a column that is called `__proto__`.
  return value as Row;
}

function inOrder(row: Row): Row {
  const { id, input, source } = row;
  const { uri, record, line } = source;
  const common = { input, source: { uri, record, line } };
  if ("error" in row) {
    const { code, message, retryable } = row.error;
    return { id, error: { code, message, retryable }, ...common };
  }
  const { label, score, labels, truncated, repaired } = row;
  const best = labels.map((each) => ({ label: each.label, score: each.score }));
  return { id, label, score, labels: best, truncated, repaired, ...common };
}

function summarize(rows: readonly Row[], bytes: Uint8Array): PartSummary {
  // Maps: a label may be called `constructor` or `__proto__`.
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
  return new LabelmillError("PART_MISMATCH", `expected a part with a row a line; line ${line}: ${why.slice(0, 500)}`, {
    cause,
  });
}
