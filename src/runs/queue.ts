import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../schemas/names.ts";

/** A queue to add to. What goes wrong is told by the calls on it: its `error` events would only say it again, on the console. */
export function openQueue(redis: Redis, name: string): Queue {
  const queue = new Queue(name, { connection: redis, prefix: KEY_PREFIX });
  queue.on("error", () => {});
  return queue;
}
