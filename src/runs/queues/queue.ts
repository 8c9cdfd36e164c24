import { type Job, type JobState, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../../schemas/names.ts";

/** Opens a queue to add jobs to. Its calls report failures; its `error` events, which BullMQ would print, are dropped. */
export function openQueue(redis: Redis, name: string): Queue {
  const queue = new Queue(name, { connection: redis, prefix: KEY_PREFIX });
  queue.on("error", () => {});
  return queue;
}

/** The states of jobs with one id in the queues of all versions. `unknown`: the job does not exist. */
export async function jobStates(queues: readonly Queue[], id: string): Promise<(JobState | "unknown")[]> {
  return Promise.all(queues.map((queue) => queue.getJobState(id)));
}

/** A job by its id. Undefined if it does not exist, or its data is not JSON: a worker moves such a job to the dead letters. */
export async function readJob(queue: Queue, id: string): Promise<Job | undefined> {
  try {
    return await queue.getJob(id);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
