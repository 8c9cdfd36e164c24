import { type Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../../schemas/names.ts";

/** A queue to add to. What goes wrong is told by the calls on it: its `error` events would only say it again, on the console. */
export function openQueue(redis: Redis, name: string): Queue {
  const queue = new Queue(name, { connection: redis, prefix: KEY_PREFIX });
  queue.on("error", () => {});
  return queue;
}

/** A job by its id; undefined where it is gone, or is not JSON: a worker buries such a job. */
export async function readJob(queue: Queue, id: string): Promise<Job | undefined> {
  try {
    return await queue.getJob(id);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
