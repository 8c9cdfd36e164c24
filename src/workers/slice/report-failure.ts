import type { LabelmillError } from "../../errors.ts";
import { deliveriesOf } from "../../runs/deliveries.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { WebhookQueue } from "../../runs/queues/webhook-queue.ts";
import type { SingleEnds } from "../../runs/single-results.ts";
import type { LabelEvent } from "../../schemas/event.ts";
import type { Job } from "../../schemas/job.ts";
import type { ResultEvents } from "../result-events.ts";

/** Longer error messages are cut, in UTF-16 code units. */
const MAX_REASON_LENGTH = 1000;

/** Where a failure is recorded and reported. */
export type FailureDeps = {
  ledger: RunLedger;
  singles: SingleEnds;
  events: ResultEvents;
  webhooks: WebhookQueue;
  /** Queues the job that closes a run. All slices of the run must have ended. */
  finalize: (run: string, output: string) => Promise<void>;
};

/**
 * Reports a slice that failed permanently. An event goes to the results queue if the job asks for events. The webhooks
 * and the caller of a single are notified. Every other run counts the failure, so that it does not wait for the slice.
 */
export async function reportFailure(
  event: LabelEvent,
  { events: wanted, single, results }: Pick<Job, "events" | "single" | "results">,
  error: LabelmillError,
  { ledger, singles, events, webhooks, finalize }: FailureDeps,
): Promise<void> {
  if (wanted !== "none") await events.publish(event);
  if (single) {
    for (const delivery of deliveriesOf({ results }, event)) await webhooks.add(delivery);
    return singles.set(event);
  }
  const { run, slice } = event;
  const message = error.message.slice(0, MAX_REASON_LENGTH);
  // An invalid model can label no slice of the run.
  if (error.code === "MODEL_INVALID") return ledger.failRun(run, `MODEL_INVALID: ${message}`);
  const end = await ledger.fail(run, slice, { code: error.code, message });
  await ledger.announce(run);
  const progress = end.complete ? await ledger.progress(run) : undefined;
  if (progress) await finalize(run, progress.output);
}
