import { type Job as QueuedJob, UnrecoverableError, WaitingError } from "bullmq";
import { abortable } from "../abortable.ts";
import type { Logger } from "../logger.ts";
import { compactRange } from "../outputs/compact.ts";
import { finalizeRun } from "../outputs/finalize.ts";
import type { FileEncoder } from "../rows/file-encoder.ts";
import type { Compactions } from "../runs/compactions.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import { type CompactJob, CompactJobSchema, type FinalizeJob, FinalizeJobSchema } from "../schemas/job.ts";
import type { Outages } from "../storage/health/outages.ts";
import type { ObjectStore } from "../storage/store.ts";
import { type DeadLetters, unreadableReason } from "./queue/dead-letters.ts";
import { rejectRunJob } from "./queue/invalid-job.ts";
import { delayJob, outageDelayMs, outageMs } from "./queue/outage-delay.ts";
import { infrastructureError, isLastTry } from "./queue/retry.ts";

export type FinalizerDeps = {
  openOutput(uri: string): Promise<ObjectStore>;
  ledger: RunLedger;
  compactions: Compactions;
  encoder: FileEncoder;
  deadLetters: DeadLetters;
  outages: Outages;
  log: Logger;
};

/**
 * Closes a run, or makes output files of it. Where that fails for good, a full disk say, the run has failed: whoever waits for it must
 * hear of it. While its store is out it lies aside, which costs no try; when `signal` aborts it is given back at once, for another to do.
 */
export async function handleRunJob(
  queued: QueuedJob,
  token: string,
  signal: AbortSignal,
  parts: FinalizerDeps,
): Promise<void> {
  const { ledger, outages, log } = parts;
  const isCompaction = queued.name === "compact";
  const reason = unreadableReason(queued, isCompaction ? CompactJobSchema : FinalizeJobSchema);
  if (reason !== undefined) throw await rejectRunJob(queued, reason, parts);
  const { run, output } = queued.data as CompactJob | FinalizeJob;
  const out = outages.of([output]);
  if (out) return delayJob(queued, token, outageDelayMs(out));
  try {
    await abortable(work(queued, isCompaction, parts), signal);
  } catch (thrown) {
    if (signal.aborted) {
      await queued.moveToWait(token);
      throw new WaitingError();
    }
    const aside = await outageMs(thrown, output, outages);
    if (aside !== undefined) return delayJob(queued, token, aside);
    const error = infrastructureError(thrown);
    const forGood = !error.retryable || isLastTry(queued);
    log[forGood ? "error" : "warn"]({ run, code: error.code, err: error }, "run could not be closed");
    if (!forGood) throw error;
    await ledger.failRun(run, `${error.code}: ${error.message}`);
    throw new UnrecoverableError(`${error.code}: ${error.message}`);
  }
}

/** Every step may be done again, by this try or another. */
async function work(
  { data }: QueuedJob,
  isCompaction: boolean,
  { openOutput, ledger, compactions, encoder, log }: FinalizerDeps,
): Promise<void> {
  const { run, output } = data as CompactJob | FinalizeJob;
  const store = await openOutput(output);
  if (isCompaction) {
    const job = data as CompactJob;
    await compactRange(job, store, ledger, compactions, encoder);
    log.info({ run, range: job.range }, "output files made");
  } else {
    const state = await finalizeRun(run, store, ledger, compactions, openOutput);
    log.info({ run, state }, state ? "run finalized" : "run not to be finalized yet");
  }
}
