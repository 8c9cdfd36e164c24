import type { Committed } from "../runs/ledger.ts";
import type { Job } from "../schemas/job.ts";
import type { Row } from "../schemas/row.ts";
import type { ObjectStore } from "../storage/store.ts";

/** A part as it stands in the store, whoever wrote it. */
export type StandingPart = Committed & { rows: readonly Row[] };

/** What one slice needs of the world. Tests put their own functions around these. */
export type SliceSteps = {
  /** The store at a URI, if the worker was granted it. */
  openOutput(uri: string): Promise<ObjectStore>;
  /** The part that stands at the job's key, checked against the slice; undefined where there is none. */
  adopt(store: ObjectStore, job: Job): Promise<StandingPart | undefined>;
  /** A row for each item, in the slice's order: labels or an error. Bad items never throw; only infrastructure does. */
  label(job: Job, signal: AbortSignal): Promise<Row[]>;
  encode(rows: readonly Row[]): Committed & { bytes: Uint8Array };
  /** The receipt and the run's counters, once. */
  commit(job: Job, part: StandingPart): Promise<"done" | "stray">;
  /** Tells whoever listens. A job that is tried again may tell it again. */
  publish(job: Job, part: StandingPart): Promise<void>;
};

/**
 * One job, through the whole flow: label the slice's items, put the part, commit its receipt, publish, return. Delivery is at
 * least once, so every step may have been done before by a try that was lost: the first part to be written stands, and every
 * later try adopts it, commits that part's receipt (not that of its own rows), and tells of it again.
 */
export async function processSlice(job: Job, steps: SliceSteps, signal: AbortSignal): Promise<void> {
  const store = await steps.openOutput(job.output);
  const part = (await steps.adopt(store, job)) ?? (await write(store, job, steps, signal));
  if ((await steps.commit(job, part)) === "stray") return;
  await steps.publish(job, part);
}

async function write(store: ObjectStore, job: Job, steps: SliceSteps, signal: AbortSignal): Promise<StandingPart> {
  const rows = await steps.label(job, signal);
  signal.throwIfAborted();
  const { bytes, ...part } = steps.encode(rows);
  if (await store.putIfAbsent(job.key, bytes)) return { ...part, rows };
  return (await steps.adopt(store, job))!;
}
