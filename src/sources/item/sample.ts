import { hash } from "node:crypto";

/**
 * Whether a record is in a sample: `share` (0 to 1) of all records are, the same ones each time and whoever asks. By the SHA-256 of
 * the input's URI and the record's number.
 */
export function isSampled(uri: string, record: number, share: number): boolean {
  return Number.parseInt(hash("sha256", `${uri}\n${record}`).slice(0, 12), 16) < share * 2 ** 48;
}
