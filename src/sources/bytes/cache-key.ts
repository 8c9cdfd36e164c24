import type { Origin } from "./origin.ts";

/** Memory that a cache entry takes in addition to its bytes: its key and its objects. */
export const ENTRY_BYTES = 2048;

/** A cache key that identifies an input and its content. @param rest what is cached of the input */
export function cacheKey({ input: { uri, size, modifiedAt, hash } }: Origin, ...rest: unknown[]): string {
  return JSON.stringify([uri, size, modifiedAt, hash, ...rest]);
}
