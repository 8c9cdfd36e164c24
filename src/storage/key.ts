import { LabelmillError } from "../errors.ts";

/** S3's limit, in bytes of UTF-8. All stores have it, so that all accept the same keys. */
const MAX_KEY_BYTES = 1024;

/** Files of a store or a lock beside the objects. Their names are reserved, so that no object has one. */
const RESERVED = /^\..+\.[0-9a-f]{16}\.(aside|claim)$/s;

/** @throws LabelmillError NOT_GRANTED for a key that no store accepts (see ObjectStore for the rules) */
export function checkKey(key: string): void {
  const problem = problemOf(key);
  if (problem)
    throw new LabelmillError("NOT_GRANTED", `expected a relative key like a/b.jsonl, got ${show(key)}: ${problem}`);
}

export function isKey(key: string): boolean {
  return problemOf(key) === undefined;
}

/** Sorts keys by the bytes of their UTF-8: S3's order, which differs from that of JavaScript's strings. */
export function sortKeys(keys: readonly string[]): string[] {
  return keys
    .map((key) => Buffer.from(key))
    .sort(Buffer.compare)
    .map((bytes) => bytes.toString());
}

function problemOf(key: string): string | undefined {
  if (key.length > MAX_KEY_BYTES || Buffer.byteLength(key) > MAX_KEY_BYTES) return `longer than ${MAX_KEY_BYTES} bytes`;
  // Two keys that differ only in a lone surrogate would be the same bytes in the store.
  if (!key.isWellFormed()) return "a lone surrogate in it";
  if (key.includes("\0")) return "a NUL in it";
  if (key.includes("\\")) return "a backslash in it";
  for (const segment of key.split("/")) {
    if (segment === "") return "an empty segment in it";
    if (segment === "." || segment === "..") return `the segment ${segment} in it`;
    if (RESERVED.test(segment)) return `${show(segment)} is a reserved name`;
  }
  return undefined;
}

function show(key: string): string {
  return JSON.stringify(key.length > 100 ? `${key.slice(0, 100)}…` : key);
}
