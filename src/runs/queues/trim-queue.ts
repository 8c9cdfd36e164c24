import type { Queue } from "bullmq";
import type { Redis } from "ioredis";

/** Jobs removed per step. The surplus is counted again before each step, because consumers take jobs too. */
const CHUNK = 500;

/** How long a process that dies while it trims keeps others from trimming. */
const LOCK_MS = 10_000;

/**
 * Removes the oldest waiting jobs until at most `max` wait. A lock lets one process trim at a time, so that concurrent calls do not each
 * remove the same surplus.
 * @returns the number of jobs that this call removed
 */
export async function trimWaiting(redis: Redis, queue: Queue, max: number): Promise<number> {
  const lock = queue.toKey("trimming");
  if ((await redis.set(lock, "1", "PX", LOCK_MS, "NX")) !== "OK") return 0;
  let removed = 0;
  try {
    for (;;) {
      const surplus = (await queue.getWaitingCount()) - max;
      if (surplus <= 0) return removed;
      // BullMQ rounds a limit above 10,000 up to a multiple of 10,000.
      const { length } = await queue.clean(0, Math.min(surplus, CHUNK), "wait");
      removed += length;
      // BullMQ does not clean a paused queue.
      if (length === 0) return removed;
    }
  } finally {
    await redis.del(lock);
  }
}
