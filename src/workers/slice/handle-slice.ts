import type { Job as QueuedJob } from "bullmq";
import { itemsIn, type Job } from "../../schemas/job.ts";
import type { AttemptRecord } from "../crashes/attempt-record.ts";
import { invalidReason, rejectJob } from "../queue/invalid-job.ts";
import { retryOrFail } from "./retry-or-fail.ts";
import { admit, storesOf } from "./slice-admission.ts";
import { beginAttempt, runAttempt } from "./slice-attempt.ts";
import type { SliceContext } from "./slice-context.ts";
import { TimeLimit } from "./time-limit.ts";

/** A longer time in a queue, in ms, is not plausible: the clocks of producer and worker differ. */
const MAX_PLAUSIBLE_WAIT_MS = 366 * 24 * 3600 * 1000;

/**
 * Handles one job of a model's queue:
 *
 * 1. Parse the job. A job that cannot be parsed goes to the dead letters.
 * 2. Admit the slice (slice-admission.ts): it is dropped if its run was stopped, and delayed if the run is paused or a
 *    store is unavailable.
 * 3. Run an attempt (slice-attempt.ts): together with other slices, or isolated if the slice crashed workers before.
 * 4. After a failure, decide (retry-or-fail.ts): give the job back, delay it, retry it, or fail the slice permanently.
 *
 * Resolves if the job is done. Otherwise throws the error by which BullMQ knows what to do with the job.
 */
export async function handleSlice(
  queued: QueuedJob,
  token: string,
  signal: AbortSignal,
  context: SliceContext,
): Promise<void> {
  const job = await parse(queued, context);
  const log = context.log.child({ run: job.run, job: queued.id });
  // Before a later attempt, the job waited for its backoff or for the end of another worker.
  if (queued.attemptsStarted === 1) context.stages.add("wait", waitedMs(queued), 1);
  using inHand = context.concurrency.take(itemsIn(job));
  using run = await context.control.watch(job);
  const delivery = { queued, token, job, run, signal, log };
  if (!(await admit(delivery, context))) return;
  using limit = new TimeLimit(job.timeoutMs, () => context.outages.troubleMs(storesOf(job)));
  const stop = AbortSignal.any([signal, run.signal, limit.signal]);
  let record: AttemptRecord | undefined;
  try {
    record = await beginAttempt(delivery, stop, context);
    await runAttempt({ ...delivery, record, inHand, limit, stop }, context);
    await record.end();
    log.debug({ items: itemsIn(job) }, "slice done");
  } catch (error) {
    await retryOrFail(error, { ...delivery, record, limit }, context);
  }
}

async function parse(queued: QueuedJob, context: SliceContext): Promise<Job> {
  const reason = invalidReason(queued, context.served);
  if (reason !== undefined) throw await rejectJob(queued, reason, context);
  return queued.data;
}

/** Time in the queue until the first worker took the job, in ms. The producer's clock wrote the start. */
function waitedMs({ timestamp, processedOn = Date.now() }: QueuedJob): number {
  const ms = processedOn - timestamp;
  return ms > 0 && ms < MAX_PLAUSIBLE_WAIT_MS ? ms : 0;
}
