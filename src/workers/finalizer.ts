import { type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { Logger } from "../logger.ts";
import { compactRange } from "../runs/compact.ts";
import type { Compactions } from "../runs/compactions.ts";
import { finalizeRun } from "../runs/finalize.ts";
import type { RunLedger } from "../runs/ledger.ts";
import { type CompactJob, CompactJobSchema, type FinalizeJob, FinalizeJobSchema } from "../schemas/job.ts";
import type { FileEncoder } from "../storage/file-encoder.ts";
import type { ObjectStore } from "../storage/store.ts";
import { type DeadLetters, whyUnreadable } from "./dead-letters.ts";
import { refuseRunJob } from "./refusal.ts";
import { infrastructureError, isLastTry } from "./tries.ts";

export type FinalizerParts = {
  openOutput(uri: string): Promise<ObjectStore>;
  ledger: RunLedger;
  compactions: Compactions;
  encoder: FileEncoder;
  deadLetters: DeadLetters;
  log: Logger;
};

/**
 * Closes a run, or makes output files of it. Where that fails for good, a full disk say, the run has failed: whoever waits for it must
 * hear of it.
 */
export async function handleRunJob(queued: QueuedJob, parts: FinalizerParts): Promise<void> {
  const { openOutput, ledger, compactions, encoder, log } = parts;
  const isCompaction = queued.name === "compact";
  const reason = whyUnreadable(queued, isCompaction ? CompactJobSchema : FinalizeJobSchema);
  if (reason !== undefined) throw await refuseRunJob(queued, reason, parts);
  const { run, output } = queued.data as CompactJob | FinalizeJob;
  try {
    const store = await openOutput(output);
    if (isCompaction) {
      const job = queued.data as CompactJob;
      await compactRange(job, store, ledger, compactions, encoder);
      log.info({ run, range: job.range }, "output files made");
    } else {
      const state = await finalizeRun(run, store, ledger, compactions, openOutput);
      log.info({ run, state }, state ? "run finalized" : "run not to be finalized yet");
    }
  } catch (thrown) {
    const error = infrastructureError(thrown);
    const forGood = !error.retryable || isLastTry(queued);
    log[forGood ? "error" : "warn"]({ run, code: error.code, err: error }, "run could not be closed");
    if (!forGood) throw error;
    await ledger.failRun(run, `${error.code}: ${error.message}`);
    throw new UnrecoverableError(`${error.code}: ${error.message}`);
  }
}
