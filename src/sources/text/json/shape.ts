import { LabelmillError } from "../../../errors.ts";
import { quoted } from "../../source.ts";
import type { Head } from "../head.ts";

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const OPENING: readonly (number | undefined)[] = [OPEN_ARRAY, OPEN_OBJECT];
const CLOSING: readonly (number | undefined)[] = [0x5d, 0x7d];

/**
 * The kind of JSON that the head begins with: an array of records, one record per line (JSONL), or one object over several lines. Undefined
 * for anything else, such as text in brackets.
 */
export function jsonShape({ bytes, whole }: Head): "array" | "lines" | "object" | undefined {
  const at = skipSpace(bytes, 0);
  if (bytes[at] === OPEN_OBJECT) {
    // After a line that is cut off, the next record begins. An object over several lines continues with a key.
    const next = skipSpace(bytes, bytes.indexOf(LF, at));
    return spansLines(bytes, at) && bytes[next] !== OPEN_OBJECT ? "object" : "lines";
  }
  if (bytes[at] !== OPEN_ARRAY) return undefined;
  const inner = skipSpace(bytes, at + 1);
  if (bytes[inner] === CLOSING[0] && whole && skipSpace(bytes, inner + 1) === bytes.length) return "array";
  if (bytes[inner] !== OPEN_OBJECT) return undefined;
  // An array on one line with more lines after it: lines of arrays, which are not records.
  const end = bytes.indexOf(LF, at);
  const isLine = end !== -1 && skipSpace(bytes, end) < bytes.length && !spansLines(bytes, at);
  return isLine ? undefined : "array";
}

/** The byte after the opening bracket of the head's JSON array, and its line. Undefined if it is not an array. */
export function arrayBegin(head: Buffer): { position: number; line: number } | undefined {
  const at = skipSpace(head, 0);
  if (head[at] !== OPEN_ARRAY) return undefined;
  return { position: at + 1, line: 1 + head.subarray(0, at).filter((byte) => byte === LF).length };
}

/** @throws LabelmillError INPUT_UNREADABLE, with what was found instead of records, and the fix */
export function refuseOtherJson(label: string, { bytes }: Head): never {
  const at = skipSpace(bytes, 0);
  const expected = `${label}: expected an array of records, or one record per line (JSONL)`;
  if (bytes[at] === OPEN_OBJECT) {
    const fix =
      "extract the list of records (jq '.NAME'), write each record on a line (jq -c .), or add --format lines if each line is a text";
    throw new LabelmillError("INPUT_UNREADABLE", `${expected}, got an object over several lines: ${fix}`);
  }
  const found = bytes.toString("utf8", at, at + 40);
  throw new LabelmillError("INPUT_UNREADABLE", `${expected}, got ${quoted(found)}`);
}

/** Whether the JSON value at `from` continues after its line. A string cannot: a line break in it means that the line is damaged. */
function spansLines(bytes: Buffer, from: number): boolean {
  let depth = 0;
  let isQuoted = false;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === LF) return depth > 0 && !isQuoted;
    if (isQuoted) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isQuoted = false;
    } else if (byte === QUOTE) isQuoted = true;
    else if (OPENING.includes(byte)) depth++;
    else if (CLOSING.includes(byte)) depth--;
  }
  return false;
}

function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && (bytes[at] === 0x20 || (bytes[at]! >= 0x09 && bytes[at]! <= 0x0d))) at++;
  return at;
}
