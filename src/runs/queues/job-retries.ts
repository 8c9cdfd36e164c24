/** Attempts of a job in total, and the first wait between two of them; each further wait is twice as long. */
export type Retries = { attempts: number; backoffMs: number };

/** Job options: a completed job is removed; a failed job is retried, then kept among the last 1,000 for inspection. */
export function jobRetries({ attempts, backoffMs }: Retries) {
  return {
    attempts,
    backoff: { type: "exponential", delay: backoffMs },
    removeOnComplete: true,
    removeOnFail: { count: 1000 },
  };
}
