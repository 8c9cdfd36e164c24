import type { LabelmillError } from "../../errors.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { SingleEnds } from "../../runs/singles.ts";
import type { LabelEvent } from "../../schemas/event.ts";
import type { Job } from "../../schemas/job.ts";
import type { ResultEvents } from "../result-events.ts";

/** The most of an error's message that is kept, in UTF-16 code units. */
const MAX_REASON_LENGTH = 1000;

/** Where a failure is recorded and announced. */
export type FailureDeps = {
  ledger: RunLedger;
  singles: SingleEnds;
  events: ResultEvents;
  /** All slices of the run have ended: it can be closed. */
  finalize: (run: string, output: string) => Promise<void>;
};

/**
 * Ends a slice that failed for good. Its failure goes to the results queue where the job asks for events; a single's caller hears of
 * it on the run's channel, and every other run counts it, so that no run waits for the slice.
 */
export async function reportFailure(
  event: LabelEvent,
  { events: wanted, single }: Pick<Job, "events" | "single">,
  error: LabelmillError,
  { ledger, singles, events, finalize }: FailureDeps,
): Promise<void> {
  if (wanted !== "none") await events.publish(event);
  if (single) return singles.set(event);
  const { run, slice } = event;
  // No slice of the run can be labeled by a model that is not valid.
  if (error.code === "MODEL_INVALID")
    return ledger.failRun(run, `MODEL_INVALID: ${error.message.slice(0, MAX_REASON_LENGTH)}`);
  const end = await ledger.fail(run, slice, { code: error.code, message: error.message.slice(0, MAX_REASON_LENGTH) });
  await ledger.announce(run);
  const progress = end.complete ? await ledger.progress(run) : undefined;
  if (progress) await finalize(run, progress.output);
}
