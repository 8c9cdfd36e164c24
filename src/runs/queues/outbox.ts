import type { Redis } from "ioredis";
import { EventSchema, type LabelEvent } from "../../schemas/event.ts";
import { KEY_PREFIX, RESULTS_QUEUE } from "../../schemas/names.ts";
import { openQueue, readJob } from "./queue.ts";

const PAGE = 500;

/** Where the number of events that were dropped unread is counted. */
export const DROPPED_EVENTS_KEY = `${KEY_PREFIX}:results:dropped`;

/** Events that were dropped unread because too many waited. */
export async function droppedEvents(redis: Redis): Promise<number> {
  return Number((await redis.get(DROPPED_EVENTS_KEY)) ?? 0);
}

/** The events that wait on the results queue, the oldest first; they stay there. What is taken meanwhile may be left out. */
export async function* waitingEvents(redis: Redis): AsyncGenerator<LabelEvent> {
  const queue = openQueue(redis, RESULTS_QUEUE);
  try {
    // Ids first: a consumer that takes events while they are read would move the pages.
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
