import { DelayedError } from "bullmq";
import { PARKED_MS } from "../../runs/queues/paused-slices.ts";
import type { Job } from "../../schemas/job.ts";
import { outageDelayMs } from "../outages/outage-delay.ts";
import { rejectJob } from "../queue/invalid-job.ts";
import { delayJob } from "../queue/retry.ts";
import type { SliceContext, SliceDelivery } from "./slice-context.ts";

/** A slice that its run may still plan is checked again after this time. */
const OPEN_PLAN_DELAY_MS = 2_000;

/**
 * Decides whether a slice may run now.
 * @returns false if its run was stopped: the slice is dropped
 * @throws DelayedError if the slice has to wait: its run is paused or being planned, or one of its stores is
 * unavailable; UnrecoverableError if the slice is in no plan of its run. Neither a delay nor a drop uses an attempt.
 */
export async function admit(delivery: SliceDelivery, context: SliceContext): Promise<boolean> {
  const { queued, token, job, run, log } = delivery;
  if (run.signal.aborted) {
    log.debug("slice dropped: its run was stopped");
    return false;
  }
  // If Redis loses a run, the run is planned again while slices of it are still running.
  if (run.plan === "open") return delayJob(queued, token, OPEN_PLAN_DELAY_MS);
  if (run.plan === "unplanned")
    throw await rejectJob(queued, `slice ${job.slice} is in no plan of a run ${job.run}`, context);
  if (run.paused) return park(delivery, context);
  // A slice of an unavailable store does not start. Slices of other stores do.
  const outage = context.outages.of(storesOf(job));
  if (outage) return delayJob(queued, token, outageDelayMs(outage));
  // Turns only order the slices of different runs: if Redis is out of memory and cannot note one, the slice still runs.
  if (queued.priority > 0)
    void context.turns.taken(queued.priority).catch((error: unknown) => log.debug({ err: error }, "turn not noted"));
  return true;
}

/** URIs of the stores that a slice reads and writes. */
export function storesOf({ output, splits = [] }: Job): string[] {
  return [output, ...splits.map(({ input }) => input.uri)];
}

/** Delays the slice of a paused run, without using an attempt. When the run is resumed, the slice is called back. */
async function park({ queued, token, job, log }: SliceDelivery, { control }: SliceContext): Promise<never> {
  await queued.moveToDelayed(Date.now() + PARKED_MS, token);
  // A resume just before this line has not called this slice back: it was not delayed yet.
  if (!(await control.isPaused(job.run))) await queued.promote().catch(() => {});
  log.debug("slice parked: its run is paused");
  throw new DelayedError();
}
