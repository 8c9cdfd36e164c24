import { DelayedError, type Job as QueuedJob, UnrecoverableError, WaitingError } from "bullmq";
import { abortable } from "../../abortable.ts";
import { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { Compactions } from "../../runs/compactions.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import { PARKED_MS } from "../../runs/queues/parking.ts";
import type { Turns } from "../../runs/queues/turns.ts";
import type { SingleEnds } from "../../runs/singles.ts";
import { itemsIn, type Job } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { AttemptRecord } from "../crashes/attempt-record.ts";
import { CRASHES_UNTIL_ISOLATED, type CrashRecord } from "../crashes/crash-record.ts";
import { crashCount, MAX_UNBLAMED_CRASHES, unblamedCrashCount } from "../crashes/evidence.ts";
import type { Isolation } from "../crashes/isolation.ts";
import type { DeadLetters } from "../queue/dead-letters.ts";
import { invalidReason, rejectJob, type ServedModel } from "../queue/invalid-job.ts";
import { delayJob, judgeFailure, outageDelayMs } from "../queue/outage-delay.ts";
import { infrastructureError, isLastTry } from "../queue/retry.ts";
import type { SliceConcurrency } from "../queue/slice-concurrency.ts";
import type { StageTimes } from "../registration/stage-times.ts";
import { failedEvent, type ResultEvents } from "../result-events.ts";
import type { RunControl } from "../run-control.ts";
import { type LabelItems, labelIsolated, labelTogether } from "./label-items.ts";
import type { LoadItems } from "./load-items.ts";
import { OutageAwareStore } from "./outage-aware-store.ts";
import type { OutageBuffer } from "./outage-buffer.ts";
import { processSlice, type SliceSteps } from "./process-slice.ts";
import { reportFailure } from "./report-failure.ts";
import { abandonIfStuck } from "./stuck-work.ts";
import { TimeLimit } from "./time-limit.ts";

/** The loss of a device costs a slice no try up to here: an item that causes it is found by then. */
const FREE_DEVICE_LOSSES = 5;

/** A slice that its run may plan yet is looked at again after this time. */
const OPEN_PLAN_ASIDE_MS = 2_000;

/** More than a year in a queue is no wait but a wrong clock. */
const LONGEST_WAIT_MS = 366 * 24 * 3600 * 1000;

/** What all queues of a worker share. */
export type SharedServices = {
  ledger: RunLedger;
  singles: SingleEnds;
  compactions: Compactions;
  control: RunControl;
  crashRecord: CrashRecord;
  gate: Isolation;
  deadLetters: DeadLetters;
  events: ResultEvents;
  outages: Outages;
  /** Labeled rows that wait for a store. */
  held: OutageBuffer;
  /** All slices of the run have ended: it can be closed. */
  finalize: (run: string, output: string) => Promise<void>;
  log: Logger;
};

export type SliceContext = SharedServices & {
  steps: Omit<SliceSteps, "label">;
  load: LoadItems;
  label: LabelItems;
  stages: StageTimes;
  intake: SliceConcurrency;
  turns: Turns;
  /** The model that is served here. */
  served: ServedModel;
};

/**
 * What surrounds `processSlice` for a job of the queue: parsing, the room it takes, the end of its run, the suspicion of killing the
 * process, and what happens when it fails. Throws what BullMQ is to do next: try again, give back, or never again.
 */
export async function handleSlice(
  queued: QueuedJob,
  token: string,
  signal: AbortSignal,
  parts: SliceContext,
): Promise<void> {
  const job = await parse(queued, parts);
  const log = parts.log.child({ run: job.run, job: queued.id });
  // Later tries have waited for their backoff, or for the end of another worker.
  if (queued.attemptsStarted === 1) parts.stages.add("wait", waited(queued), 1);
  using room = parts.intake.take(itemsIn(job));
  using run = await parts.control.watch(job);
  if (run.signal.aborted) return log.debug("slice of a stopped run dropped");
  // A run that Redis has lost is planned anew while slices of it are still under way.
  if (run.plan === "open") return delayJob(queued, token, OPEN_PLAN_ASIDE_MS);
  if (run.plan === "unplanned")
    throw await rejectJob(queued, `slice ${job.slice} is in no plan of a run ${job.run}`, parts);
  if (run.paused) return park(queued, token, job, parts);
  const places = placesOf(job);
  const out = parts.outages.of(places);
  // Nothing new is taken of a store that is out. Others are not held up by it.
  if (out) return delayJob(queued, token, outageDelayMs(out));
  // Whose turn it is is no more than order: a Redis that cannot note it, being out of memory, must cost the slice nothing.
  if (queued.priority > 0)
    void parts.turns.taken(queued.priority).catch((error: unknown) => log.debug({ err: error }, "turn not noted"));
  using limit = new TimeLimit(job.timeoutMs, () => parts.outages.troubleMs(places));
  let inferMs = 0;
  const label: LabelItems = (items, of, stop) =>
    parts.label(items, of, stop, (count, batch, ms = 0) => {
      room.done(count);
      inferMs += ms;
      log.debug({ batch, items: count }, "items through");
    });
  const stop = AbortSignal.any([signal, run.signal, limit.signal]);
  let trial: AttemptRecord | undefined;
  try {
    const own = await parts.crashRecord.take(job, queued.attemptsStarted > 1, stop);
    if (unblamedCrashCount(own.evidence) >= MAX_UNBLAMED_CRASHES) {
      // Forgotten: who submits it again has changed something.
      await own.end();
      throw crashed();
    }
    trial = own;
    const crashes = crashCount(own.evidence);
    const alone = crashes >= CRASHES_UNTIL_ISOLATED;
    if (alone) log.warn({ crashes }, "slice lost its worker again: running it alone, in small groups");
    const labelSlice = async (of: Job, stop: AbortSignal): Promise<Row[]> => {
      const loaded = await parts.load(of, stop);
      return alone
        ? labelIsolated(loaded, own.evidence, label, (span) => own.note(span), stop)
        : labelTogether(loaded, label, stop);
    };
    /** @param leave lets slices pass that wait to be alone */
    const stepsOf = (leave: () => void): SliceSteps & { stages: StageTimes } => ({
      ...parts.steps,
      // A slice that runs alone holds up all others: its rows do not wait. Neither do others wait for rows that do.
      openOutput: async (uri) => {
        const store = await abortable(parts.steps.openOutput(uri), stop);
        return new OutageAwareStore(store, parts.outages, alone ? undefined : parts.held, stop, leave);
      },
      label: labelSlice,
      stages: parts.stages,
      commit: (of, part) => parts.steps.commit(of, { ...part, inferMs }),
    });
    const work = (leave = () => {}) => {
      limit.begin();
      return processSlice(job, stepsOf(leave), stop);
    };
    await abandonIfStuck(alone ? parts.gate.alone(() => work(), stop) : parts.gate.together(work, stop), signal);
    await own.end();
    log.debug({ items: itemsIn(job) }, "slice done");
  } catch (error) {
    const failure = limit.exceeded ?? infrastructureError(error);
    const deviceLost = failure.code === "INFERENCE_FAILED";
    // A Redis that cannot note it, being out of memory, must not hide why the slice failed.
    const noted = run.signal.aborted ? trial?.end() : deviceLost ? trial?.lost() : trial?.giveBack();
    await noted?.catch((error: unknown) => log.debug({ err: error }, "end of the try not noted"));
    if (run.signal.aborted) return log.info("slice of a stopped run dropped");
    // Where one of its items loses devices, the evidence ends that; a device that fails whatever runs on it costs tries in the end.
    const isFree = deviceLost ? (trial?.deviceLosses ?? 0) < FREE_DEVICE_LOSSES : signal.aborted && !limit.exceeded;
    if (isFree) {
      if (deviceLost) log.warn({ code: failure.code, err: failure }, "slice lost its device: given back, at no cost");
      else log.info("slice given back");
      await queued.moveToWait(token);
      throw new WaitingError();
    }
    const { ms: aside, refused } = await judgeFailure(limit.exceeded ?? error, job.output, parts.outages);
    if (aside !== undefined) {
      log.debug({ err: failure }, "slice set aside: its store or Redis is out");
      return delayJob(queued, token, aside);
    }
    throw await failed(queued, job, refused ? await asRefused(job, failure, parts) : failure, { ...parts, log });
  }
}

function crashed(): LabelmillError {
  return new LabelmillError(
    "SLICE_CRASHED_WORKER",
    `${MAX_UNBLAMED_CRASHES} workers died on the slice while none of its items was recorded as running: give workers more memory, or make slices smaller (--slice-items), then submit it again`,
  );
}

/** The stores that a slice reads and writes. */
function placesOf({ output, splits = [] }: Job): string[] {
  return [output, ...splits.map(({ input }) => input.uri)];
}

/** A store that refuses, and was given time, refuses all slices of the run: it has failed. @returns the slice's failure */
async function asRefused(job: Job, failure: LabelmillError, parts: SliceContext): Promise<LabelmillError> {
  const { code, message } = failure;
  if (!job.single) await parts.ledger.failRun(job.run, `${code}: ${message}`);
  return new LabelmillError(code, message, { cause: failure, retryable: false });
}

/** The slice of a paused run goes aside, which costs it no try, and is called back when the run goes on. */
async function park(queued: QueuedJob, token: string, { run }: Job, { control, log }: SliceContext): Promise<never> {
  await queued.moveToDelayed(Date.now() + PARKED_MS, token);
  // Who resumed the run just before may have called back all but this one.
  if (!(await control.isPaused(run))) await queued.promote().catch(() => {});
  log.debug({ run, job: queued.id }, "slice of a paused run parked");
  throw new DelayedError();
}

/** The time from being queued, which the producer wrote down by its own clock, to being taken. */
function waited({ timestamp, processedOn = Date.now() }: QueuedJob): number {
  const ms = processedOn - timestamp;
  return ms > 0 && ms < LONGEST_WAIT_MS ? ms : 0;
}

async function parse(queued: QueuedJob, parts: SliceContext): Promise<Job> {
  const reason = invalidReason(queued, parts.served);
  if (reason !== undefined) throw await rejectJob(queued, reason, parts);
  return queued.data;
}

async function failed(queued: QueuedJob, job: Job, error: LabelmillError, parts: SliceContext): Promise<Error> {
  const lastTry = !error.retryable || isLastTry(queued);
  parts.log[lastTry ? "error" : "warn"](
    { code: error.code, err: error, try: queued.attemptsMade + 1 },
    lastTry ? "slice failed for good" : "slice failed, to be tried again",
  );
  if (!lastTry) return error;
  await reportFailure(failedEvent(job, error), job, error, parts);
  return new UnrecoverableError(`${error.code}: ${error.message}`);
}
