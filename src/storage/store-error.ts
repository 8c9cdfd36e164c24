import { LabelmillError } from "../errors.ts";

/**
 * What an error may say about the whole store, not only about one key. `outage`: it does not answer, or answers 5xx or 429.
 * `refused`: it answers, and stays as it is until an operator changes something (403, no such bucket, a full or read-only disk).
 */
export type StoreTrouble = {
  kind: "outage" | "refused";
  /** It cannot be about one key alone: a wrong access key, a full disk. Else a second key or a probe has to confirm it. */
  certain: boolean;
};

/** STORE_FAILED with what is needed to tell a store that is out from one key that fails. */
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

/** The store's error behind whatever was thrown: readers of formats wrap it. */
export function storeErrorOf(thrown: unknown): StoreError | undefined {
  let error = thrown;
  for (let depth = 0; depth < 8 && error instanceof Error; depth += 1) {
    if (error instanceof StoreError) return error;
    error = error.cause;
  }
  return undefined;
}

/** The store that a URI lies in, as outages are counted: the bucket, or the folder. */
export function placeOf(uri: string): string {
  return /^s3:\/\/[^/?#]+/i.exec(uri)?.[0] ?? uri;
}

/** All keys in the folder of a key that is read, as outages are counted. Never the URI of an output. */
export function keysBeside(uri: string): string {
  return `${uri.slice(0, uri.lastIndexOf("/") + 1)}*`;
}

/** Where a right that was refused is missing, as far as is known: the output, or the folder of another key. */
export function scopeOf({ place, key }: StoreError, output: string): string {
  const uri = `${place}/${key}`;
  return place === undefined || uri.startsWith(output.replace(/\/*$/, "/")) ? output : keysBeside(uri);
}
