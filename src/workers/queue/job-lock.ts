import type { Config } from "../../config.ts";

/** Lock and stall options of all queue workers. A worker renews the lock of each of its jobs by a timer. */
export function jobLock({ lockMs, stallCheckMs }: Config) {
  return {
    /** If a worker does not renew the lock for this long, another worker gets the job. In ms. */
    lockDuration: lockMs,
    /** How often jobs without a lock are looked for, in ms. */
    stalledInterval: stallCheckMs,
    // No limit: `slice-attempt.ts` counts lost workers. BullMQ's own limit would fail the job and not report it to the
    // run.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
  };
}
