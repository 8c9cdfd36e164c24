const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/**
 * The waits between the tries of a delivery, in milliseconds: the first after the first failed try. Eight tries in
 * 24 h 11 min.
 */
export const RETRY_WAITS_MS: readonly number[] = [
  5 * SECOND,
  1 * MINUTE,
  10 * MINUTE,
  1 * HOUR,
  3 * HOUR,
  8 * HOUR,
  12 * HOUR,
];

/** A wait is up to this share shorter or longer, so that deliveries that failed together do not all return together. */
export const RETRY_JITTER = 0.1;
/** A longer Retry-After is cut to this. */
export const MAX_RETRY_AFTER_MS = HOUR;

/**
 * The wait before the next try.
 * @param failed tries that have failed so far, at least 1
 * @param retryAfterMs the wait that the endpoint asked for; it can only make the wait longer. 0: none
 * @param random a number from 0 to 1
 * @returns undefined if no try is left
 */
export function retryWaitMs(
  failed: number,
  retryAfterMs: number,
  waits: readonly number[] = RETRY_WAITS_MS,
  random: number = Math.random(),
): number | undefined {
  const wait = waits[failed - 1];
  if (wait === undefined) return undefined;
  return Math.max(wait * (1 + RETRY_JITTER * (2 * random - 1)), Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
}
