import type { Accepted } from "../../schemas/enrichment/accepted.ts";

/** What keeps accepted submissions until their end: a journal in the store, or the append-only file of Redis. */
export interface Keeper {
  /**
   * Makes a submission safe and queues it, in the order that the kind of keeper needs. Doing it again changes nothing.
   * @param enqueue queues the submission. A submission that is in the queue stays as it is
   * @throws LabelmillError the submission is not accepted. It may be labeled nevertheless
   */
  keep(record: Accepted, enqueue: () => Promise<void>): Promise<void>;
  /** Makes a submission safe that is queued, and may have ended. @throws as `keep` */
  keepQueued(record: Accepted): Promise<void>;
  /** Notes that a webhook of a run was delivered, or never will be. */
  settleDelivery(run: string, deliveryId: string): Promise<void>;
  /** Queues again what Redis lost. */
  replay(signal: AbortSignal): Promise<Replayed>;
  /** Ends the timers. What is kept stays kept. */
  close(): Promise<void>;
}

/** Submissions that a replay queued again, and those that had ended and are kept no longer. */
export type Replayed = { queued: number; settled: number };
