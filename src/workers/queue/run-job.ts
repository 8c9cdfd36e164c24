import { type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { isLastAttempt } from "./retry.ts";

/**
 * Adds a job that plans or closes a run and cannot be parsed to the dead letters. The run that it names fails, so that
 * no caller waits for it.
 * @returns the error for the processor to throw
 */
export async function rejectRunJob(
  queued: QueuedJob,
  reason: string,
  { ledger, deadLetters }: { ledger: RunLedger; deadLetters: DeadLetters },
): Promise<UnrecoverableError> {
  const rejected = await deadLetters.add(queued, reason);
  const run = RunIdSchema.safeParse(queued.data?.run);
  if (run.success) await ledger.failRun(run.data, rejected.message);
  return rejected;
}

/**
 * Logs the failure of a job that plans or closes a run. If no attempt is left or a retry cannot help, the run fails.
 * @param problem the log line
 * @returns the error for the processor to throw
 */
export async function failedRunJob(
  queued: QueuedJob,
  error: LabelmillError,
  problem: string,
  { ledger, log }: { ledger: RunLedger; log: Logger },
): Promise<Error> {
  const { run } = queued.data as { run: string };
  const reason = `${error.code}: ${error.message}`;
  const isFinal = !error.retryable || isLastAttempt(queued);
  log[isFinal ? "error" : "warn"]({ run, code: error.code, err: error }, problem);
  if (!isFinal) return error;
  await ledger.failRun(run, reason);
  return new UnrecoverableError(reason);
}
