import { isNotConnectionError, type Worker } from "bullmq";
import type { Redis } from "ioredis";
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { LogThrottle } from "./log-throttle.ts";

/** Ids of jobs and the like in an error message: without them, messages of one kind are equal. */
const IDS = /[0-9a-f]{6,}(-\w+)?/g;

/**
 * Logs the errors of a queue's worker, at most one line a minute for each kind. Errors of a lost connection are logged
 * at debug level only: the connection itself reports the loss once.
 * @param redis the worker's connection
 */
export function logQueueErrors(worker: Worker, redis: Redis, log: Logger): void {
  const queue = worker.name;
  const throttle = new LogThrottle();
  let failedRenewals = 0;
  worker.on("lockRenewalFailed", (ids) => {
    // BullMQ emits an `error` for each of these jobs right after this event.
    failedRenewals = ids.length;
    throttle.log("locks", ids.length, (jobs) =>
      log.warn(
        { queue, jobs },
        "locks could not be renewed: another worker may process these jobs too, and the first part wins",
      ),
    );
  });
  worker.on("error", (error) => {
    if (failedRenewals > 0) failedRenewals -= 1;
    else if (redis.status !== "ready" || !isNotConnectionError(error))
      log.debug({ queue, err: error }, "Redis is not reachable");
    else
      throttle.log(error.message.replaceAll(IDS, "…"), 1, (times) =>
        log.warn({ queue, times, why: messageOf(error) }, "the queue's worker failed and tries again"),
      );
  });
}
