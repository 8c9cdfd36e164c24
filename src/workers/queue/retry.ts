import { DelayedError, type Job as QueuedJob, WaitingError } from "bullmq";
import { LabelmillError, messageOf } from "../../errors.ts";

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

/** Whether BullMQ will not retry the job if it fails now. */
export function isLastAttempt(job: QueuedJob): boolean {
  return job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
}

/**
 * The failure of a job as a LabelmillError. Any other error came from Redis, the store or the system and may pass, so
 * it is retryable: a server that is out of memory for a moment must fail no slice.
 */
export function toLabelmillError(thrown: unknown): LabelmillError {
  if (thrown instanceof LabelmillError) return thrown;
  return new LabelmillError("INTERNAL", messageOf(thrown), { cause: thrown, retryable: true });
}
