import type { Job as QueuedJob, WorkerOptions } from "bullmq";
import type { Redis } from "ioredis";
import { abortable } from "../abortable.ts";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import type { FileGrants } from "../fetch/grants.ts";
import type { S3Grants } from "../fetch/s3-grants.ts";
import type { Logger } from "../logger.ts";
import type { Channels } from "../runs/channels.ts";
import { QueueWorker } from "../runs/queues/queue-worker.ts";
import { isEnded } from "../runs/state.ts";
import { type PlanJob, PlanJobSchema } from "../schemas/job.ts";
import { plansQueue, SERVED_JOB_VERSIONS } from "../schemas/names.ts";
import type { RunState } from "../schemas/run.ts";
import type { S3 } from "../storage/s3/s3.ts";
import type { ObjectStore } from "../storage/store.ts";
import { deliverRunEnd } from "./deliver/run-end.ts";
import { judgeFailure, outageDelayMs } from "./outages/outage-delay.ts";
import { unreadableReason } from "./queue/dead-letters.ts";
import { delayJob, giveBack, toLabelmillError } from "./queue/retry.ts";
import { failedRunJob, rejectRunJob } from "./queue/run-job.ts";
import type { SharedServices } from "./shared-services.ts";

/** Runs that a worker plans at a time: each mostly waits for its slices. */
const PLANS_AT_ONCE = 8;

/**
 * Plans a run whose output is `store`, and follows it to its end. The worker passes in what it needs: workers and
 * producers do not import each other.
 * @returns the run's end state
 * @throws the reason of `signal` if it aborts
 */
export type PlanRun = (
  deps: {
    redis: Redis;
    channels: Channels;
    store: ObjectStore;
    openStore: (uri: string) => Promise<ObjectStore>;
    s3: S3;
    config: Pick<Config, "windowSlices" | "fullMs" | "attempts" | "backoffMs">;
    /** Rejects with NOT_GRANTED if the worker may not open the URI. */
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
  shared: Pick<SharedServices, "ledger" | "deadLetters" | "outages" | "webhooks" | "log">;
  openOutput: (uri: string) => Promise<ObjectStore>;
};

/** Serves the queues of plans. `stop` gives running plans back at once: another worker continues them. */
export function servePlans(
  plan: PlanRun,
  deps: PlannerDeps,
  options: WorkerOptions,
): { queues: QueueWorker[]; stop: () => Promise<void> } {
  const stop = new AbortController();
  const queues = SERVED_JOB_VERSIONS.map(
    (version) =>
      new QueueWorker(
        plansQueue(version),
        (job, token) => handlePlan(job, token!, plan, deps, stop.signal),
        { ...options, concurrency: PLANS_AT_ONCE },
        deps.shared.log,
      ),
  );
  return {
    queues,
    stop: async () => {
      // Paused first, so that this worker does not take the plans that it gives back.
      await Promise.all(queues.map((queue) => queue.pause(true)));
      stop.abort(new LabelmillError("ABORTED", "the worker is stopping"));
    },
  };
}

async function handlePlan(
  queued: QueuedJob,
  token: string,
  plan: PlanRun,
  deps: PlannerDeps,
  signal: AbortSignal,
): Promise<void> {
  const { redis, shared, openOutput } = deps;
  const { outages } = shared;
  const reason = unreadableReason(queued, PlanJobSchema);
  if (reason !== undefined) throw await rejectRunJob(queued, reason, { ...shared, openOutput });
  const { run, output } = queued.data as PlanJob;
  const outage = outages.of([output]);
  if (outage) return delayJob(queued, token, outageDelayMs(outage));
  const log = shared.log.child({ run });
  let isRedisLost = false;
  const onClose = () => {
    isRedisLost = true;
  };
  redis.once("close", onClose);
  try {
    const state = await planToItsEnd({ run, output }, plan, deps, signal, log);
    log.info({ state }, "run planned to its end");
  } catch (thrown) {
    // Redis keeps the state of the run, so that a lost connection uses no attempt.
    if (signal.aborted || isRedisLost) {
      log.info("plan given back");
      return await giveBack(queued, token);
    }
    const { delayMs } = await judgeFailure(thrown, output, outages);
    if (delayMs !== undefined) {
      log.debug({ err: thrown }, "plan delayed: its store or Redis is unavailable");
      return await delayJob(queued, token, delayMs);
    }
    throw await failedRunJob(queued, toLabelmillError(thrown), "run could not be planned", { ...shared, openOutput });
  } finally {
    redis.off("close", onClose);
  }
}

async function planToItsEnd(
  { run, output }: Pick<PlanJob, "run" | "output">,
  plan: PlanRun,
  deps: PlannerDeps,
  signal: AbortSignal,
  log: Logger,
): Promise<RunState> {
  const { grants, shared, openOutput } = deps;
  const granted = async (uri: string) => {
    if (uri.startsWith("s3:")) grants.s3.check(uri);
    else if (uri.startsWith("file:")) await grants.files.resolve(uri);
  };
  // A worker that is stopping may get back a plan that it just gave back.
  signal.throwIfAborted();
  const store = await abortable(openOutput(output), signal);
  const planDeps = { ...deps, store, openStore: openOutput, granted, say: (line: string) => log.info(line) };
  let state: RunState;
  // A caller may have resumed the run between its end and this check.
  do state = await abortable(plan(planDeps, run, signal), signal);
  while (!isEnded((await shared.ledger.state(run)) ?? state));
  await abortable(deliverRunEnd({ run, store }, shared), signal);
  return state;
}
