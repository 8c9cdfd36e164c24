import { LabelmillError } from "../../errors.ts";
import type { RetryOptions } from "../../retry/retry.ts";
import { isS3Outage, type S3Operation, s3Error } from "./error.ts";

export const S3_LIMITS = {
  /** Tries of one request, the first one included. Progress of a stream starts the count again. */
  tries: 6,
  /** The wait before the second try is a random share of this. It doubles with each try, up to `maxDelayMs`. */
  delayMs: 250,
  maxDelayMs: 5_000,
  connectMs: 5_000,
  /** A connection without traffic for this long is closed. */
  silentMs: 30_000,
  /** More requests at once would wait for a connection, and the SDK counts that wait as part of `connectMs`. */
  sockets: 256,
};
export type S3Limits = typeof S3_LIMITS;

/** @param operation for the final error; called when a try has failed */
export function s3Retry(
  operation: () => S3Operation,
  { tries, delayMs, maxDelayMs }: S3Limits,
  signal?: AbortSignal,
): RetryOptions {
  return {
    tries,
    backoff: { firstMs: delayMs, maxMs: maxDelayMs, jitter: 1 },
    signal,
    aborted,
    onFailure: (error, { isLast }) => {
      throwIfAborted(signal);
      if (error instanceof LabelmillError || isLast || !isS3Outage(error)) throw s3Error(error, operation());
      return 0;
    },
  };
}

/** @throws LabelmillError ABORTED */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal.reason);
}

function aborted(reason: unknown): LabelmillError {
  return new LabelmillError("ABORTED", "stopped before S3 answered", { cause: reason });
}
