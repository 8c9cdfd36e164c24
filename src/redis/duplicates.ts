import type { Redis } from "ioredis";

/**
 * Keeps hold of the connections that BullMQ makes of this one: one for each of its workers. A worker that is closed while a pause of it
 * still waits for a lost server has that pause connect anew, for ever, with nobody left to end it.
 * @returns what ends them all, for good
 */
export function holdDuplicates(redis: Redis): () => void {
  const held = new Set<Redis>();
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => {
    const made = duplicate(override);
    held.add(made);
    return made;
  };
  return () => {
    for (const each of held) {
      each.connect = () => Promise.reject(new Error("the connection was ended"));
      each.disconnect();
    }
  };
}
