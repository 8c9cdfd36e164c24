import { LabelmillError } from "../errors.ts";

/** S3's limit, in bytes of UTF-8: a key that one store takes, every store takes. */
const MAX_KEY_BYTES = 1024;

/** Files that a store or a lock keeps beside the objects. Reserved, so that no object can be taken for one. */
const RESERVED = /^\..+\.[0-9a-f]{16}\.(aside|claim)$/s;

/** @throws LabelmillError NOT_GRANTED for a key that no store takes (the rules stand at ObjectStore) */
export function checkKey(key: string): void {
  const problem = problemOf(key);
  if (problem)
    throw new LabelmillError("NOT_GRANTED", `expected a relative key like a/b.jsonl, got ${show(key)}: ${problem}`);
}

export function isKey(key: string): boolean {
  return problemOf(key) === undefined;
}

/** In the byte order of their UTF-8, which is S3's order and not that of JavaScript's strings. */
export function sortKeys(keys: readonly string[]): string[] {
  return keys
    .map((key) => Buffer.from(key))
    .sort(Buffer.compare)
    .map((bytes) => bytes.toString());
}

function problemOf(key: string): string | undefined {
  if (key.length > MAX_KEY_BYTES || Buffer.byteLength(key) > MAX_KEY_BYTES) return `longer than ${MAX_KEY_BYTES} bytes`;
  // Two keys that differ in a lone surrogate only would be the same bytes to the store.
  if (!key.isWellFormed()) return "a lone surrogate in it";
  if (key.includes("\0")) return "a NUL in it";
  if (key.includes("\\")) return "a backslash in it";
  for (const segment of key.split("/")) {
    if (segment === "") return "an empty segment in it";
    if (segment === "." || segment === "..") return `the segment ${segment} in it`;
    if (RESERVED.test(segment)) return `${show(segment)} is a name that stores keep for themselves`;
  }
  return undefined;
}

function show(key: string): string {
  return JSON.stringify(key.length > 100 ? `${key.slice(0, 100)}…` : key);
}
