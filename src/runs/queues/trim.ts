import type { Queue } from "bullmq";
import type { Redis } from "ioredis";

/** Jobs removed at a time: those that a consumer takes meanwhile are counted again before the next ones. */
const CHUNK = 500;

/** How long one process may keep others from trimming, if it dies while it does. */
const HOLD_MS = 10_000;

/**
 * Removes the oldest waiting jobs beyond `most`. Several processes may ask at once: one of them trims, so that they do not each
 * remove the same surplus.
 * @returns how many were removed here
 */
export async function trimWaiting(redis: Redis, queue: Queue, most: number): Promise<number> {
  const lock = queue.toKey("trimming");
  if ((await redis.set(lock, "1", "PX", HOLD_MS, "NX")) !== "OK") return 0;
  let removed = 0;
  try {
    for (;;) {
      const surplus = (await queue.getWaitingCount()) - most;
      if (surplus <= 0) return removed;
      // BullMQ rounds a limit above 10,000 up to whole ten thousands.
      const { length } = await queue.clean(0, Math.min(surplus, CHUNK), "wait");
      removed += length;
      // What waits in a paused queue is not cleaned.
      if (length === 0) return removed;
    }
  } finally {
    await redis.del(lock);
  }
}
