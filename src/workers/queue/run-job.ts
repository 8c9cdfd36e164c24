import { type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { WebhookQueue } from "../../runs/queues/webhook-queue.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { deliverRunEnd } from "../deliver/run-end.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { isLastAttempt } from "./retry.ts";

export type RunJobDeps = {
  ledger: RunLedger;
  webhooks: WebhookQueue;
  openOutput: (uri: string) => Promise<ObjectStore>;
  log: Logger;
};

/**
 * Adds a job that plans or closes a run and cannot be parsed to the dead letters. The run that it names fails, so that
 * no caller waits for it.
 * @returns the error for the processor to throw
 */
export async function rejectRunJob(
  queued: QueuedJob,
  reason: string,
  deps: RunJobDeps & { deadLetters: DeadLetters },
): Promise<UnrecoverableError> {
  const rejected = await deps.deadLetters.add(queued, reason);
  const run = RunIdSchema.safeParse(queued.data?.run);
  if (run.success) await failRun({ run: run.data, output: String(queued.data.output) }, rejected.message, deps);
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
  deps: RunJobDeps,
): Promise<Error> {
  const { run, output } = queued.data as { run: string; output: string };
  const reason = `${error.code}: ${error.message}`;
  const isFinal = !error.retryable || isLastAttempt(queued);
  deps.log[isFinal ? "error" : "warn"]({ run, code: error.code, err: error }, problem);
  if (!isFinal) return error;
  await failRun({ run, output }, reason, deps);
  return new UnrecoverableError(reason);
}

/** Fails a run, unless it has ended, and queues its webhooks as far as its output can be read. */
async function failRun(
  { run, output }: { run: string; output: string },
  reason: string,
  { ledger, webhooks, openOutput, log }: RunJobDeps,
): Promise<void> {
  await ledger.failRun(run, reason);
  try {
    await deliverRunEnd({ run, store: await openOutput(output) }, { ledger, webhooks });
  } catch (error) {
    log.warn({ run, err: error }, "webhooks of the failed run not queued");
  }
}
