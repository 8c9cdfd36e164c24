import { LabelmillError } from "../errors.ts";

/**
 * The meaning of an error for the whole store, not only for one key. `outage`: the store does not answer, or answers 5xx or
 * 429. `refused`: it answers, and will refuse until an operator changes something (403, a missing bucket, a full or read-only
 * disk).
 */
export type StoreTrouble = {
  kind: "outage" | "refused";
  /** The error cannot concern one key only (a wrong access key, a full disk). If false, a second key or a probe must confirm it. */
  certain: boolean;
};

/** STORE_FAILED with the details that distinguish an outage of the store from a failure of one key. */
export class StoreError extends LabelmillError {
  /** `s3://BUCKET`; undefined for files, whose caller knows the store. */
  readonly place: string | undefined;
  readonly key: string;
  readonly trouble: StoreTrouble | undefined;

  constructor(
    message: string,
    options: { cause: unknown; retryable: boolean; place?: string; key: string; trouble: StoreTrouble | undefined },
  ) {
    super("STORE_FAILED", message, options);
    this.place = options.place;
    this.key = options.key;
    this.trouble = options.trouble;
  }
}

/** The StoreError among an error and its causes: readers of formats wrap it. */
export function storeErrorOf(thrown: unknown): StoreError | undefined {
  let error = thrown;
  for (let depth = 0; depth < 8 && error instanceof Error; depth += 1) {
    if (error instanceof StoreError) return error;
    error = error.cause;
  }
  return undefined;
}

/** The store of a URI, for outages: the bucket, or the folder. */
export function placeOf(uri: string): string {
  return /^s3:\/\/[^/?#]+/i.exec(uri)?.[0] ?? uri;
}

/** The keys in the same folder as a key for reading, as one place for outages. It is never the URI of an output. */
export function keysBeside(uri: string): string {
  return `${uri.slice(0, uri.lastIndexOf("/") + 1)}*`;
}

/** The place for which S3 refused a right, as far as known: the output, or the folder of another key. */
export function scopeOf({ place, key }: StoreError, output: string): string {
  const uri = `${place}/${key}`;
  return place === undefined || uri.startsWith(output.replace(/\/*$/, "/")) ? output : keysBeside(uri);
}

/** What `read` returns; undefined if the object does not exist. */
export async function ifThere<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
    throw error;
  }
}
