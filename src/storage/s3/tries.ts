import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError } from "../../errors.ts";
import { isS3Outage, type S3Asked, s3Error } from "./error.ts";

export const S3_LIMITS = {
  /** Tries of one request, the first among them. Progress of a stream starts the count again. */
  tries: 6,
  /** The pause before the second try is a random share of this; it doubles with each, up to `maxDelayMs`. */
  delayMs: 250,
  maxDelayMs: 5_000,
  connectMs: 5_000,
  /** A connection on which nothing moves for that long is given up. */
  silentMs: 30_000,
  /** More requests at once would wait for a connection, and the SDK counts that wait as part of `connectMs`. */
  sockets: 256,
};
export type S3Limits = typeof S3_LIMITS;

/**
 * Waits before another try.
 * @param failed tries that failed so far, this one among them
 * @throws LabelmillError if there is to be none: it would fail the same way, it was the last, or `signal` fired
 */
export async function again(
  error: unknown,
  failed: number,
  asked: S3Asked,
  { tries, delayMs, maxDelayMs }: S3Limits,
  signal?: AbortSignal,
): Promise<void> {
  throwIfAborted(signal);
  if (error instanceof LabelmillError || failed >= tries || !isS3Outage(error)) throw s3Error(error, asked);
  const pause = Math.random() * Math.min(maxDelayMs, delayMs * 2 ** (failed - 1));
  await delay(pause, undefined, { signal }).catch(() => throwIfAborted(signal));
}

/** @throws LabelmillError ABORTED */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new LabelmillError("ABORTED", "stopped before S3 had answered", { cause: signal.reason });
}
