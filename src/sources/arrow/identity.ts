import type { Origin } from "../origin.ts";

/** What names an input with its content, as a key. */
export function identityOf({ input: { uri, size, modifiedAt, hash } }: Origin, ...rest: unknown[]): string {
  return JSON.stringify([uri, size, modifiedAt, hash, ...rest]);
}
