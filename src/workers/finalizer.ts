import type { Job as QueuedJob, WorkerOptions as QueueWorkerOptions } from "bullmq";
import { abortable } from "../abortable.ts";
import type { Logger } from "../logger.ts";
import { compactRange } from "../outputs/compact.ts";
import { finalizeRun } from "../outputs/finalize.ts";
import { FileEncoder } from "../rows/file-encoder.ts";
import type { Compactions } from "../runs/compactions.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import { QueueWorker } from "../runs/queues/queue-worker.ts";
import type { WebhookQueue } from "../runs/queues/webhook-queue.ts";
import { type CompactJob, CompactJobSchema, type FinalizeJob, FinalizeJobSchema } from "../schemas/job.ts";
import { runsQueue, SERVED_JOB_VERSIONS } from "../schemas/names.ts";
import type { Outages } from "../storage/health/outages.ts";
import type { ObjectStore } from "../storage/store.ts";
import { deliverRunEnd } from "./deliver/run-end.ts";
import { judgeFailure, outageDelayMs } from "./outages/outage-delay.ts";
import { type DeadLetters, unreadableReason } from "./queue/dead-letters.ts";
import { delayJob, giveBack, toLabelmillError } from "./queue/retry.ts";
import { failedRunJob, rejectRunJob } from "./queue/run-job.ts";

/** Jobs of the runs queue that a worker processes at a time. */
const RUN_JOBS_AT_ONCE = 2;

export type FinalizerDeps = {
  openOutput(uri: string): Promise<ObjectStore>;
  ledger: RunLedger;
  compactions: Compactions;
  deadLetters: DeadLetters;
  webhooks: WebhookQueue;
  outages: Outages;
  log: Logger;
};

/** Serves the queues of runs to be closed. `stop` gives running jobs back. `opening` closes what is opened. */
export function serveRunJobs(
  deps: FinalizerDeps,
  stop: AbortSignal,
  options: QueueWorkerOptions,
  opening: AsyncDisposableStack,
): QueueWorker[] {
  const encoder = new FileEncoder();
  opening.defer(() => encoder.close());
  return SERVED_JOB_VERSIONS.map(
    (version) =>
      new QueueWorker(
        runsQueue(version),
        (job, token) => handleRunJob(job, token!, stop, { ...deps, encoder }),
        { ...options, concurrency: RUN_JOBS_AT_ONCE },
        deps.log,
      ),
  );
}

/**
 * Closes a run, or writes its output files. If its store is unavailable, the job is delayed, without using an attempt.
 * If `signal` aborts, it is given back at once for another worker. If it fails permanently, for example because the
 * disk is full, the run fails, so that no caller waits for it.
 */
async function handleRunJob(
  queued: QueuedJob,
  token: string,
  signal: AbortSignal,
  deps: FinalizerDeps & { encoder: FileEncoder },
): Promise<void> {
  const { outages } = deps;
  const isCompaction = queued.name === "compact";
  const reason = unreadableReason(queued, isCompaction ? CompactJobSchema : FinalizeJobSchema);
  if (reason !== undefined) throw await rejectRunJob(queued, reason, deps);
  const { output } = queued.data as CompactJob | FinalizeJob;
  const outage = outages.of([output]);
  if (outage) return delayJob(queued, token, outageDelayMs(outage));
  try {
    await abortable(work(queued, isCompaction, deps), signal);
  } catch (thrown) {
    if (signal.aborted) return giveBack(queued, token);
    const { delayMs } = await judgeFailure(thrown, output, outages);
    if (delayMs !== undefined) return delayJob(queued, token, delayMs);
    throw await failedRunJob(queued, toLabelmillError(thrown), "run could not be closed", deps);
  }
}

/** Every step may be repeated, by this attempt or another. */
async function work(
  { data }: QueuedJob,
  isCompaction: boolean,
  { openOutput, ledger, compactions, webhooks, encoder, log }: FinalizerDeps & { encoder: FileEncoder },
): Promise<void> {
  const { run, output } = data as CompactJob | FinalizeJob;
  const store = await openOutput(output);
  if (isCompaction) {
    const job = data as CompactJob;
    await compactRange(job, store, ledger, compactions, encoder);
    log.info({ run, range: job.range }, "output files written");
  } else {
    const state = await finalizeRun(run, store, ledger, compactions, openOutput);
    if (state) await deliverRunEnd({ run, store }, { ledger, webhooks });
    log.info({ run, state }, state ? "run closed" : "run cannot be closed yet");
  }
}
