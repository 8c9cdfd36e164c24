import { type Job as QueuedJob, UnrecoverableError } from "bullmq";
import type { Logger } from "../logger.ts";
import { finalizeRun } from "../runs/finalize.ts";
import type { RunLedger } from "../runs/ledger.ts";
import { FinalizeJobSchema } from "../schemas/job.ts";
import type { ObjectStore } from "../storage/store.ts";
import { type DeadLetters, firstIssue } from "./dead-letters.ts";
import { infrastructureError, isLastTry } from "./tries.ts";

export type FinalizerParts = {
  openOutput(uri: string): Promise<ObjectStore>;
  ledger: RunLedger;
  deadLetters: DeadLetters;
  log: Logger;
};

/** Closes a run. Where that fails for good, a full disk say, the run has failed: whoever waits for it must hear of it. */
export async function handleFinalize(queued: QueuedJob, parts: FinalizerParts): Promise<void> {
  const { openOutput, ledger, deadLetters, log } = parts;
  const parsed = FinalizeJobSchema.safeParse(queued.data);
  if (!parsed.success) throw await deadLetters.bury(queued, firstIssue(parsed.error));
  const { run, output } = parsed.data;
  try {
    const state = await finalizeRun(run, await openOutput(output), ledger);
    log.info({ run, state }, "run finalized");
  } catch (thrown) {
    const error = infrastructureError(thrown);
    const forGood = !error.retryable || isLastTry(queued);
    log[forGood ? "error" : "warn"]({ run, code: error.code, err: error }, "run could not be closed");
    if (!forGood) throw error;
    await ledger.failClosing(run, `${error.code}: ${error.message}`);
    throw new UnrecoverableError(`${error.code}: ${error.message}`);
  }
}
