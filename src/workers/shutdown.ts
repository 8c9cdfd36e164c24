import type { Redis } from "ioredis";
import type { LabelmillError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { whenLost } from "../redis/outages.ts";
import type { QueueWorker } from "../runs/queues/queue-worker.ts";

/**
 * Stops the queues of a worker that shuts down. They take no more jobs. Running jobs may finish within the grace time;
 * after it, `stop` aborts and they are given back. If Redis is not reachable, no job can be finished or given back: all
 * are abandoned at once, and other workers take them when their locks end.
 */
export async function stopQueues(
  queues: readonly QueueWorker[],
  redis: Redis,
  stop: AbortController,
  graceMs: number,
): Promise<void> {
  const grace = setTimeout(() => stop.abort(), graceMs);
  let isLost = false;
  const lost = whenLost(redis).then(() => {
    isLost = true;
  });
  await Promise.race([lost, Promise.all(queues.map((queue) => queue.pause()))]);
  clearTimeout(grace);
  if (isLost) {
    stop.abort();
    redis.disconnect();
  }
  await Promise.all(queues.map((queue) => queue.close(isLost)));
}

/** Stops all work when a device or the decode threads have failed. @returns the failure, once there is one */
export async function stopOnFailure(
  failures: readonly Promise<LabelmillError>[],
  queues: readonly QueueWorker[],
  stopPlans: () => Promise<void> | undefined,
  stop: AbortController,
  log: Logger,
): Promise<LabelmillError> {
  const error = await Promise.race(failures);
  // Logged before anything is closed: to close what a failed device has broken may end the process.
  log.error({ code: error.code, err: error }, "a device or decode threads failed: this worker takes no more slices");
  for (const queue of queues) void queue.pause(true);
  void stopPlans();
  // In the next turn of the event loop: the slices of the failed batch must get its error first, since it counts for
  // them.
  setImmediate(() => stop.abort());
  return error;
}
