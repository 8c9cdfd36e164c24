import { type Job as QueuedJob, UnrecoverableError, WaitingError, type WorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import { abortable } from "../abortable.ts";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import type { FileGrants } from "../fetch/grants.ts";
import type { S3Grants } from "../fetch/s3-grants.ts";
import type { Channels } from "../runs/channels.ts";
import { isEnded } from "../runs/state.ts";
import { type PlanJob, PlanJobSchema } from "../schemas/job.ts";
import { PLANS_QUEUE } from "../schemas/names.ts";
import type { RunState } from "../schemas/run.ts";
import type { S3 } from "../storage/s3/s3.ts";
import type { ObjectStore } from "../storage/store.ts";
import { unreadableReason } from "./queue/dead-letters.ts";
import { rejectRunJob } from "./queue/invalid-job.ts";
import { delayJob, outageDelayMs, outageMs } from "./queue/outage-delay.ts";
import { QueueWorker } from "./queue/queue-worker.ts";
import { infrastructureError, isLastTry } from "./queue/retry.ts";
import type { SharedServices } from "./slice/handle-slice.ts";

/** Runs that are planned at a time: each mostly waits for its slices. */
const PLANS_AT_ONCE = 8;

/**
 * Plans a run whose output is `store` and stays with it to its end. What it is handed is the worker's: workers and producers know
 * nothing of each other. @returns the run's end state. @throws what `signal` was aborted with
 */
export type PlanRun = (
  parts: {
    redis: Redis;
    channels: Channels;
    store: ObjectStore;
    openStore: (uri: string) => Promise<ObjectStore>;
    s3: S3;
    config: Pick<Config, "windowSlices" | "fullMs" | "attempts" | "backoffMs">;
    /** Rejects with NOT_GRANTED where the worker may not open what lies there. */
    granted: (uri: string) => Promise<void>;
    say: (line: string) => void;
  },
  run: string,
  signal: AbortSignal,
) => Promise<RunState>;

export type PlannerDeps = {
  redis: Redis;
  channels: Channels;
  s3: S3;
  config: Config;
  grants: { files: FileGrants; s3: S3Grants };
  shared: Pick<SharedServices, "ledger" | "deadLetters" | "outages" | "log">;
  openOutput: (uri: string) => Promise<ObjectStore>;
};

/** Serves the queue of plans. `stop` ends those under way at once and has them given back: another worker goes on where they were. */
export function servePlans(
  plan: PlanRun,
  parts: PlannerDeps,
  options: WorkerOptions,
): { queue: QueueWorker; stop: () => Promise<void> } {
  const stop = new AbortController();
  const queue = new QueueWorker(
    PLANS_QUEUE,
    (job, token) => handlePlan(job, token!, plan, parts, stop.signal),
    { ...options, concurrency: PLANS_AT_ONCE },
    parts.shared.log,
  );
  return {
    queue,
    stop: async () => {
      // First: what is given back must not be taken here again.
      await queue.pause(true);
      stop.abort(new LabelmillError("ABORTED", "the worker is told to stop"));
    },
  };
}

async function handlePlan(
  queued: QueuedJob,
  token: string,
  plan: PlanRun,
  parts: PlannerDeps,
  signal: AbortSignal,
): Promise<void> {
  const { redis, grants, shared, openOutput } = parts;
  const { ledger, outages } = shared;
  const reason = unreadableReason(queued, PlanJobSchema);
  if (reason !== undefined) throw await rejectRunJob(queued, reason, shared);
  const { run, output } = queued.data as PlanJob;
  const out = outages.of([output]);
  if (out) return delayJob(queued, token, outageDelayMs(out));
  const log = shared.log.child({ run });
  const granted = async (uri: string) => {
    if (uri.startsWith("s3:")) grants.s3.check(uri);
    else if (uri.startsWith("file:")) await grants.files.resolve(uri);
  };
  let lost = false;
  const onClose = () => {
    lost = true;
  };
  redis.once("close", onClose);
  try {
    // A worker that stops may be handed back what it just gave.
    signal.throwIfAborted();
    const store = await abortable(openOutput(output), signal);
    const all = { ...parts, store, openStore: openOutput, granted, say: (line: string) => log.info(line) };
    let state: RunState;
    // Somebody may have it taken up again while it was being left.
    do state = await abortable(plan(all, run, signal), signal);
    while (!isEnded((await ledger.state(run)) ?? state));
    log.info({ state }, "run planned to its end");
  } catch (thrown) {
    // A server that comes back finds the run where it was: that is no try.
    if (signal.aborted || lost) {
      log.info("plan given back");
      await queued.moveToWait(token);
      throw new WaitingError();
    }
    const aside = await outageMs(thrown, output, outages);
    if (aside !== undefined) {
      log.debug({ err: thrown }, "plan set aside: its store or Redis is out");
      return delayJob(queued, token, aside);
    }
    const error = infrastructureError(thrown);
    const forGood = !error.retryable || isLastTry(queued);
    log[forGood ? "error" : "warn"]({ code: error.code, err: error }, "run could not be planned");
    if (!forGood) throw error;
    await ledger.failRun(run, `${error.code}: ${error.message}`);
    throw new UnrecoverableError(`${error.code}: ${error.message}`);
  } finally {
    redis.off("close", onClose);
  }
}
