import { UnrecoverableError } from "bullmq";
import { LabelmillError } from "../../errors.ts";
import type { Job } from "../../schemas/job.ts";
import type { AttemptRecord } from "../crashes/attempt-record.ts";
import { judgeFailure } from "../outages/outage-delay.ts";
import { delayJob, giveBack, isLastAttempt, toLabelmillError } from "../queue/retry.ts";
import { failedEvent } from "../result-events.ts";
import { reportFailure } from "./report-failure.ts";
import type { SliceContext, SliceDelivery } from "./slice-context.ts";
import type { TimeLimit } from "./time-limit.ts";

/**
 * Up to this number, the loss of a device uses no attempt of the slice: an item that causes it is found by then. A
 * device that fails with every item uses attempts after that, so that the slice ends.
 */
const MAX_FREE_DEVICE_LOSSES = 5;

export type FailedAttempt = SliceDelivery & {
  limit: TimeLimit;
  /** Undefined if the attempt failed before it was recorded. */
  record: AttemptRecord | undefined;
};

/**
 * Decides what happens to a slice whose attempt failed:
 *
 * - Its run was stopped: the slice is dropped. This is the only case in which the function resolves.
 * - The worker is shutting down, or a device was lost: the job is given back, without using an attempt.
 * - Its store or Redis is unavailable: the job is delayed, without using an attempt.
 * - Its store has refused access for too long: the slice and its run fail.
 * - Otherwise it is retried with backoff. If no attempt is left or a retry cannot help, it fails permanently.
 *
 * @throws the error by which BullMQ knows the decision
 */
export async function retryOrFail(thrown: unknown, attempt: FailedAttempt, context: SliceContext): Promise<void> {
  const { queued, token, job, run, signal, limit, record, log } = attempt;
  const failure = limit.exceeded ?? toLabelmillError(thrown);
  const isDeviceLost = failure.code === "INFERENCE_FAILED";
  await recordEnd(attempt, isDeviceLost);
  if (run.signal.aborted) return log.info("slice dropped: its run was stopped");
  const isFree = isDeviceLost
    ? (record?.deviceLosses ?? 0) < MAX_FREE_DEVICE_LOSSES
    : signal.aborted && !limit.exceeded;
  if (isFree) {
    if (isDeviceLost)
      log.warn({ code: failure.code, err: failure }, "slice given back without using an attempt: device lost");
    else log.info("slice given back: the worker stops");
    return giveBack(queued, token);
  }
  const { delayMs, refused } = await judgeFailure(limit.exceeded ?? thrown, job.output, context.outages);
  if (delayMs !== undefined) {
    log.debug({ err: failure }, "slice delayed: its store or Redis is unavailable");
    return delayJob(queued, token, delayMs);
  }
  throw await failedError(attempt, refused ? await failRefusedRun(job, failure, context) : failure, context);
}

/**
 * Records how the attempt ended. If Redis is out of memory and cannot record it, the failure itself is still reported.
 */
async function recordEnd({ run, record, log }: FailedAttempt, isDeviceLost: boolean): Promise<void> {
  const recorded = run.signal.aborted ? record?.end() : isDeviceLost ? record?.lost() : record?.giveBack();
  await recorded?.catch((error: unknown) => log.debug({ err: error }, "end of the attempt not recorded"));
}

/** Fails the run: a store that still refuses after the time to fix it refuses all slices of the run. */
async function failRefusedRun(job: Job, failure: LabelmillError, { ledger }: SliceContext): Promise<LabelmillError> {
  const { code, message } = failure;
  if (!job.single) await ledger.failRun(job.run, `${code}: ${message}`);
  return new LabelmillError(code, message, { cause: failure, retryable: false });
}

/** @returns the error with which BullMQ retries the job, or fails it permanently */
async function failedError(
  { queued, job, log }: FailedAttempt,
  error: LabelmillError,
  context: SliceContext,
): Promise<Error> {
  const isFinal = !error.retryable || isLastAttempt(queued);
  log[isFinal ? "error" : "warn"](
    { code: error.code, err: error, try: queued.attemptsMade + 1 },
    isFinal ? "slice failed permanently" : "slice failed and will be retried",
  );
  if (!isFinal) return error;
  await reportFailure(failedEvent(job, error), job, error, context);
  return new UnrecoverableError(`${error.code}: ${error.message}`);
}
