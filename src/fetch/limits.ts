/** What one fetch may cost. Sizes in bytes, times in milliseconds. */
export type FetchLimits = {
  /** The longest body over http(s). */
  maxBytes: number;
  /** The longest file or S3 object. */
  maxFileBytes: number;
  /** Name look-up, TCP and TLS of one connection. */
  connectTimeoutMs: number;
  /** One try from its start to the body's last byte, redirects included. */
  timeoutMs: number;
  maxRedirects: number;
  /** How often a fetch is tried in all, at least 1. */
  tries: number;
  /** The wait before the second try; it doubles before each further one. Half to all of it is waited, at random. */
  backoffMs: number;
  /** The longest wait that a server's Retry-After is granted. */
  maxRetryAfterMs: number;
};

export const DEFAULT_LIMITS = {
  maxBytes: 20_000_000,
  maxFileBytes: 100_000_000,
  connectTimeoutMs: 5_000,
  timeoutMs: 30_000,
  maxRedirects: 5,
  tries: 3,
  backoffMs: 500,
  maxRetryAfterMs: 30_000,
} as const satisfies FetchLimits;
