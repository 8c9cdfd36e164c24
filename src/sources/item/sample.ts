import { hash } from "node:crypto";
import type { Split } from "../../schemas/split.ts";

/**
 * Whether a record is in a sample of `share` (0 to 1) of all records. The result depends only on the arguments: it derives from the
 * SHA-256 of the input's URI and the record's number.
 */
export function isSampled(uri: string, record: number, share: number): boolean {
  return Number.parseInt(hash("sha256", `${uri}\n${record}`).slice(0, 12), 16) < share * 2 ** 48;
}

/** Whether a record of a split, by its number, is an item of the run by the split's sample and list of numbers. */
export function selection({ input, sample, only }: Pick<Split, "input" | "sample" | "only">) {
  const numbers = only && new Set(only);
  return (record: number): boolean =>
    (numbers?.has(record) ?? true) && (sample === undefined || isSampled(input.uri, record, sample));
}
