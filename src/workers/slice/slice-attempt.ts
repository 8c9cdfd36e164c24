import { abortable } from "../../abortable.ts";
import { LabelmillError } from "../../errors.ts";
import type { AttemptRecord } from "../crashes/attempt-record.ts";
import { CRASHES_UNTIL_ISOLATED } from "../crashes/crash-record.ts";
import { crashCount, MAX_UNBLAMED_CRASHES, unblamedCrashCount } from "../crashes/evidence.ts";
import { OutageAwareStore } from "../outages/outage-aware-store.ts";
import { isLastAttempt } from "../queue/retry.ts";
import type { ItemsInHand } from "../queue/slice-concurrency.ts";
import { type LabelItems, labelIsolated, labelTogether } from "./label-items.ts";
import { processSlice, type TimedSteps } from "./process-slice.ts";
import type { SliceContext, SliceDelivery } from "./slice-context.ts";
import { abandonIfStuck } from "./stuck-work.ts";
import type { TimeLimit } from "./time-limit.ts";

/** One attempt of a slice. */
export type SliceAttempt = SliceDelivery & {
  /** What earlier attempts recorded about crashes, and what this one records. */
  record: AttemptRecord;
  inHand: ItemsInHand;
  limit: TimeLimit;
  /** Aborts when the attempt has to end: the worker or the run stops, or the time limit is over. */
  stop: AbortSignal;
};

/**
 * Records the attempt, so that a crash of this process is found by the next worker, and looks up earlier crashes.
 * @throws LabelmillError SLICE_CRASHED_WORKER if too many workers crashed on the slice and no item can be blamed
 */
export async function beginAttempt(
  { job, queued }: SliceDelivery,
  stop: AbortSignal,
  { crashRecord }: SliceContext,
): Promise<AttemptRecord> {
  const record = await crashRecord.take(job, queued.attemptsStarted > 1, stop);
  if (unblamedCrashCount(record.evidence) < MAX_UNBLAMED_CRASHES) return record;
  // The evidence is deleted: a caller who submits the slice again has changed something.
  await record.end();
  throw new LabelmillError(
    "SLICE_CRASHED_WORKER",
    `${MAX_UNBLAMED_CRASHES} workers died on the slice while none of its items was recorded as running: give workers more memory, or make slices smaller (--slice-items), then submit it again`,
  );
}

/**
 * Processes the slice: together with other slices, or, if it crashed workers before, isolated from them and in small
 * groups of items, so that the next crash points to one item.
 */
export async function runAttempt(attempt: SliceAttempt, context: SliceContext): Promise<void> {
  const { job, record, limit, stop, signal, log } = attempt;
  const crashes = crashCount(record.evidence);
  const isIsolated = crashes >= CRASHES_UNTIL_ISOLATED;
  if (isIsolated) log.warn({ crashes }, "slice lost its worker again: it runs isolated, in small groups of items");
  const run = (leave = () => {}) => {
    // The wait for isolation does not count.
    limit.begin();
    return processSlice(job, stepsOf(attempt, context, isIsolated, leave), stop);
  };
  const { isolation } = context;
  await abandonIfStuck(isIsolated ? isolation.exclusive(() => run(), stop) : isolation.shared(run, stop), signal);
}

/** @param leave lets isolated slices start before this one is done */
function stepsOf(attempt: SliceAttempt, context: SliceContext, isIsolated: boolean, leave: () => void): TimedSteps {
  const { queued, record, inHand, stop, log } = attempt;
  const { steps, load, stages, outages, outageBuffer } = context;
  let inferMs = 0;
  const label: LabelItems = (items, job, signal) =>
    context.label(items, job, signal, (count, batch, ms = 0) => {
      inHand.done(count);
      inferMs += ms;
      log.debug({ batch, items: count }, "items labeled");
    });
  return {
    ...steps,
    stages,
    attempt: { isFirst: queued.attemptsStarted === 1, isLast: isLastAttempt(queued) },
    openOutput: async (uri) => {
      const store = await abortable(steps.openOutput(uri), stop);
      // An isolated slice blocks all others, so its rows do not wait for a store. Rows that wait block no isolated
      // slice.
      return new OutageAwareStore(store, outages, isIsolated ? undefined : outageBuffer, stop, leave);
    },
    label: async (job, signal) => {
      const loaded = await load(job, signal);
      if (!isIsolated) return labelTogether(loaded, label, signal);
      return labelIsolated(loaded, record.evidence, label, (span) => record.note(span), signal);
    },
    commit: (job, part) => steps.commit(job, { ...part, inferMs }),
  };
}
