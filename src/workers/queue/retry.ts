import type { Job as QueuedJob } from "bullmq";
import { LabelmillError, messageOf } from "../../errors.ts";

/**
 * What failed a job, as an error of ours. One that is not ours came from Redis, the store or the system, and may pass: the job
 * is tried again, so that a server out of memory for a moment costs no slice.
 */
export function infrastructureError(thrown: unknown): LabelmillError {
  if (thrown instanceof LabelmillError) return thrown;
  return new LabelmillError("INTERNAL", messageOf(thrown), { cause: thrown, retryable: true });
}

/** Whether BullMQ will not try the job again if it fails now. */
export function isLastTry(job: QueuedJob): boolean {
  return job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
}
