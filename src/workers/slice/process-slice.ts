import type { Committed } from "../../runs/ledger/ledger.ts";
import type { Job } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { ObjectStore } from "../../storage/store.ts";
import type { StageTimes } from "../registration/stage-times.ts";

/** A part as it stands in the store, whoever wrote it; `own` if it was this try. `inferMs`: what this try had of the devices' time. */
export type StoredPart = Committed & { rows: readonly Row[]; own?: true; inferMs?: number };

/** What one slice needs of the world. Tests put their own functions around these. */
export type SliceSteps = {
  /** The store at a URI, if the worker was granted it. */
  openOutput(uri: string): Promise<ObjectStore>;
  /** The part that stands at the job's key, checked against the slice; undefined where there is none. */
  adopt(store: ObjectStore, job: Job): Promise<StoredPart | undefined>;
  /** A row for each item, in the slice's order: labels or an error. Bad items never throw; only infrastructure does. */
  label(job: Job, signal: AbortSignal): Promise<Row[]>;
  encode(rows: readonly Row[]): Committed & { bytes: Uint8Array };
  /** The receipt and the run's counters, once. */
  commit(job: Job, part: StoredPart): Promise<"done" | "stray">;
  /** Tells whoever listens. A job that is tried again may tell it again. */
  publish(job: Job, part: StoredPart): Promise<void>;
};

/** The steps, and who keeps the time that they take. */
type TimedSteps = SliceSteps & { stages: StageTimes };

/**
 * One job, through the whole flow: label the slice's items, put the part, commit its receipt, publish, return. Delivery is at
 * least once, so every step may have been done before by a try that was lost: the first part to be written stands, and every
 * later try adopts it, commits that part's receipt (not that of its own rows), and tells of it again.
 */
export async function processSlice(job: Job, steps: TimedSteps, signal: AbortSignal): Promise<void> {
  const part = await (job.single ? labelAtOnce(job, steps, signal) : adoptOrLabel(job, steps, signal));
  if ((await steps.stages.time("write", 1, () => steps.commit(job, part))) === "stray") return;
  await steps.publish(job, part);
}

async function adoptOrLabel(job: Job, steps: TimedSteps, signal: AbortSignal): Promise<StoredPart> {
  const store = await steps.openOutput(job.output);
  return (await steps.adopt(store, job)) ?? write(store, job, await steps.label(job, signal), steps, signal);
}

/** Somebody waits for a single, and hardly ever has an earlier try left a part: it is looked for when the write finds one there. */
async function labelAtOnce(job: Job, steps: TimedSteps, signal: AbortSignal): Promise<StoredPart> {
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
  // Counted with the commit.
  const isFirst = await steps.stages.time("write", 0, () => store.putIfAbsent(job.key, bytes));
  if (isFirst) return { ...part, rows, own: true };
  return (await steps.adopt(store, job))!;
}
