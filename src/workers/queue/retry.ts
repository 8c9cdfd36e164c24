import type { Job as QueuedJob } from "bullmq";
import { LabelmillError, messageOf } from "../../errors.ts";

export { delayJob, giveBack } from "../../runs/queues/job-moves.ts";

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
