import type { Committed } from "../../runs/ledger/ledger.ts";
import type { Job } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { ObjectStore } from "../../storage/store.ts";
import type { StageTimes } from "../registration/stage-times.ts";

/**
 * Read this file first: it takes one slice from its job to its result.
 *
 * `handleSlice` (handle-slice.ts) takes the job from BullMQ, decides whether the slice may run, and handles a failure.
 * Between the two it calls `processSlice`, which does these steps in this order:
 *
 * 1. openOutput: open the store of the job's output, if the worker has a grant for it.
 * 2. adopt:      look for a part at the job's key. An earlier attempt may have written it: then go on with step 6.
 * 3. label:      load the items, fetch and prepare them, and label them in batches with items of other slices.
 * 4. encode:     encode one row for each item as a part.
 * 5. put:        write the part. The first write wins: if a part exists already, adopt it.
 * 6. commit:     record the part's receipt and update the run's counters in one atomic step. The last slice of a run
 *                queues the job that closes the run.
 * 7. deliver:    write the results of a single to sidecars and tags of its objects, and queue its webhooks.
 * 8. publish:    notify the caller and add an event to the results queue.
 *
 * slice-steps.ts implements the steps. slice-attempt.ts adds `label` and what depends on the attempt.
 *
 * Delivery is at least once. A lost attempt may have done any of these steps, so each of them may run again: a later
 * attempt adopts the part, commits the receipt of that part (not the receipt of its own rows), and publishes again.
 */
export async function processSlice(job: Job, steps: TimedSteps, signal: AbortSignal): Promise<void> {
  const { isFirst, isLast } = steps.attempt;
  const part = await (job.single && isFirst ? labelFirst(job, steps, signal) : adoptOrLabel(job, steps, signal));
  if ((await steps.stages.time("write", 1, () => steps.commit(job, part))) === "stray") return;
  if (job.results?.length) await steps.deliver(job, part, { signal, isLast });
  await steps.publish(job, part);
}

async function adoptOrLabel(job: Job, steps: TimedSteps, signal: AbortSignal): Promise<StoredPart> {
  const store = await steps.openOutput(job.output);
  return (await steps.adopt(store, job)) ?? write(store, job, await steps.label(job, signal), steps, signal);
}

/** The caller of a single waits, and no earlier attempt has written a part, unless the job was queued again. */
async function labelFirst(job: Job, steps: TimedSteps, signal: AbortSignal): Promise<StoredPart> {
  const [store, rows] = await Promise.all([steps.openOutput(job.output), steps.label(job, signal)]);
  return write(store, job, rows, steps, signal);
}

async function write(
  store: ObjectStore,
  job: Job,
  rows: Row[],
  steps: TimedSteps,
  signal: AbortSignal,
): Promise<StoredPart> {
  signal.throwIfAborted();
  const { bytes, ...part } = steps.encode(rows);
  // The count is 0: the commit counts the slice.
  const isFirst = await steps.stages.time("write", 0, () => store.putIfAbsent(job.key, bytes));
  if (isFirst) return { ...part, rows, own: true };
  return (await steps.adopt(store, job))!;
}

/** The steps that a slice is made of. Tests wrap their own functions around them. */
export type SliceSteps = {
  /** Opens the store at a URI. Rejects if the worker has no grant for it. */
  openOutput(uri: string): Promise<ObjectStore>;
  /** Reads the part at the job's key and checks that it is of this slice. Undefined if no part exists. */
  adopt(store: ObjectStore, job: Job): Promise<StoredPart | undefined>;
  /** One row for each item, in the order of the slice. A bad item gives a row in error; only infrastructure throws. */
  label(job: Job, signal: AbortSignal): Promise<Row[]>;
  encode(rows: readonly Row[]): Committed & { bytes: Uint8Array };
  /** Records the receipt and the run's counters once. `stray`: Redis does not count this slice. */
  commit(job: Job, part: StoredPart): Promise<"done" | "stray">;
  /** Writes the result to the other places that the job names. @throws only what another attempt may not meet */
  deliver(job: Job, part: StoredPart, attempt: DeliveryAttempt): Promise<void>;
  /** Reports the result. A retried job may report it again. */
  publish(job: Job, part: StoredPart): Promise<void>;
};

/** The steps without `label`, which depends on the model. */
export type OutputSteps = Omit<SliceSteps, "label">;

/** The steps, and the totals to which their times are added. `attempt`: the first of the job, and the last one allowed. */
export type TimedSteps = SliceSteps & { stages: StageTimes; attempt: { isFirst: boolean; isLast: boolean } };

/** An attempt of a job. `isLast`: no other follows if this one fails. */
export type DeliveryAttempt = { signal: AbortSignal; isLast: boolean };

/** A part in the store. `own`: this attempt wrote it. `inferMs`: device time that this attempt used, in ms. */
export type StoredPart = Committed & { rows: readonly Row[]; own?: true; inferMs?: number };
