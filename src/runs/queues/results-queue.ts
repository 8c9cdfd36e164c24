import type { Redis } from "ioredis";
import { EventSchema, type LabelEvent } from "../../schemas/event.ts";
import { KEY_PREFIX, RESULTS_QUEUE } from "../../schemas/names.ts";
import { openQueue, readJob } from "./queue.ts";

const PAGE = 500;

/** The counter of events that were dropped before a consumer read them. */
export const DROPPED_EVENTS_KEY = `${KEY_PREFIX}:results:dropped`;

/** The number of events that were dropped because too many were waiting. */
export async function droppedEvents(redis: Redis): Promise<number> {
  return Number((await redis.get(DROPPED_EVENTS_KEY)) ?? 0);
}

/** The waiting events of the results queue, the oldest first. They stay in the queue. An event that is consumed meanwhile may be missing. */
export async function* waitingEvents(redis: Redis): AsyncGenerator<LabelEvent> {
  const queue = openQueue(redis, RESULTS_QUEUE);
  try {
    // All ids first: a consumer that takes events would shift the pages.
    const ids = await queue.getRanges(["waiting"], 0, -1, true);
    for (let at = 0; at < ids.length; at += PAGE) {
      const jobs = await Promise.all(ids.slice(at, at + PAGE).map((id) => readJob(queue, id)));
      for (const job of jobs) {
        const parsed = EventSchema.safeParse(job?.data);
        if (parsed.success) yield parsed.data;
      }
    }
  } finally {
    await queue.close();
  }
}
