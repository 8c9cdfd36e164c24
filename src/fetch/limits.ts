/** The limits of one fetch. Sizes in bytes, times in milliseconds. */
export type FetchLimits = {
  /** The longest body over http(s). */
  maxBytes: number;
  /** The longest file or S3 object. */
  maxFileBytes: number;
  /** For the name look-up, TCP and TLS of one connection. */
  connectTimeoutMs: number;
  /** For one try, from its start to the body's last byte, redirects included. */
  timeoutMs: number;
  maxRedirects: number;
  /** All tries of a fetch, the first one included: at least 1. */
  tries: number;
  /** The wait before the second try. It doubles before each further one; a random share of up to a half is left out. */
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
