import type { Origin } from "./origin.ts";

/** What an entry of a cache takes of memory beside its bytes: its key, and the objects that hold it. */
export const ENTRY_BYTES = 2048;

/** What names an input with its content, as a key. */
export function identityOf({ input: { uri, size, modifiedAt, hash } }: Origin, ...rest: unknown[]): string {
  return JSON.stringify([uri, size, modifiedAt, hash, ...rest]);
}
