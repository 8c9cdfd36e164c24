import type { Redis } from "ioredis";

/**
 * Tracks the connections that BullMQ duplicates from this one, one per worker. If a worker is closed while its pause waits for a lost
 * server, that pause reconnects forever, and nothing else can end it.
 * @returns a function that ends all of them permanently
 */
export function trackDuplicates(redis: Redis): () => void {
  const tracked = new Set<Redis>();
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => {
    const made = duplicate(override);
    tracked.add(made);
    return made;
  };
  return () => {
    for (const each of tracked) {
      each.connect = () => Promise.reject(new Error("the connection was ended"));
      each.disconnect();
    }
  };
}
