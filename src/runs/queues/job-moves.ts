import { DelayedError, type Job as QueuedJob, WaitingError } from "bullmq";

/**
 * Puts a job back into its queue, for any worker, without using an attempt.
 * @throws WaitingError: BullMQ then leaves the job where it is
 */
export async function giveBack(queued: QueuedJob, token: string): Promise<never> {
  await queued.moveToWait(token);
  throw new WaitingError();
}

/**
 * Puts a job back into its queue for later, without using an attempt.
 * @throws DelayedError: BullMQ then leaves the job where it is
 */
export async function delayJob(queued: QueuedJob, token: string, ms: number): Promise<never> {
  await queued.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}
