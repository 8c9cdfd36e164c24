/** How the waits between tries grow. Times in milliseconds. */
export type Backoff = {
  /** The wait after the first failed try. */
  firstMs: number;
  /** Default: no limit. */
  maxMs?: number;
  /** The wait doubles with each failed try, or grows by `firstMs`. Default: "exponential". */
  growth?: "exponential" | "linear";
  /** The share of a wait that is random: with 0.5, half of it to all of it is waited. Default: 0. */
  jitter?: number;
};

/**
 * The wait before the next try.
 *
 * @param failed tries that have failed so far, at least 1
 */
export function backoffMs(
  failed: number,
  { firstMs, maxMs = Number.POSITIVE_INFINITY, growth = "exponential", jitter = 0 }: Backoff,
): number {
  const factor = growth === "linear" ? failed : 2 ** (failed - 1);
  return Math.min(maxMs, firstMs * factor) * (1 - jitter * Math.random());
}
