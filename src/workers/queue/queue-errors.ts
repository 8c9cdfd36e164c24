import { isNotConnectionError, type Worker } from "bullmq";
import type { Redis } from "ioredis";
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { LogThrottle } from "./log-throttle.ts";

/**
 * Tells of a queue worker's errors, in a line each kind and minute. What a lost connection causes is told by the connection, once.
 * @param redis the connection with which the worker is out of reach
 */
export function logQueueErrors(worker: Worker, redis: Redis, log: Logger): void {
  const queue = worker.name;
  const lines = new LogThrottle();
  let renewals = 0;
  worker.on("lockRenewalFailed", (ids) => {
    // An `error` for each of them follows at once.
    renewals = ids.length;
    lines.tell("locks", ids.length, (jobs) =>
      log.warn(
        { queue, jobs },
        "locks could not be renewed: another worker may take these jobs too, and the first part to be written stands",
      ),
    );
  });
  worker.on("error", (error) => {
    if (renewals > 0) renewals -= 1;
    else if (redis.status !== "ready" || !isNotConnectionError(error)) log.debug({ queue, err: error }, "no Redis");
    // Ids of jobs and the like make no other kind of it.
    else
      lines.tell(error.message.replaceAll(/[0-9a-f]{6,}(-\w+)?/g, "…"), 1, (times) =>
        log.warn({ queue, times, why: messageOf(error) }, "the queue's worker failed, and tries again"),
      );
  });
}
