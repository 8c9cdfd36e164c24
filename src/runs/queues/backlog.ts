import type { Redis } from "ioredis";
import { itemsIn, type Job } from "../../schemas/job.ts";
import { KEY_PREFIX } from "../../schemas/names.ts";

/** Jobs read at each end of a list, to estimate the items of all its jobs. */
const SAMPLED = 10;

/** The name of the job of a slice. It has the number of items, so that a backlog is counted without the content of its jobs. */
export function sliceJobName(job: Pick<Job, "items" | "splits">): string {
  return `slice:${itemsIn(job)}`;
}

/**
 * The items that wait in a queue or are being labeled, estimated from the first and last jobs of each list. A job with another name, as
 * other producers may add, counts as one item. Paused slices, and those between two attempts, do not count.
 */
export async function queuedItems(redis: Redis, queue: string): Promise<number> {
  const key = (name: string) => `${KEY_PREFIX}:${queue}:${name}`;
  const last = SAMPLED - 1;
  const read = redis.pipeline();
  for (const list of ["wait", "active"])
    read.llen(key(list)).lrange(key(list), 0, last).lrange(key(list), -SAMPLED, -1);
  read
    .zcard(key("prioritized"))
    .zrange(key("prioritized"), "0", String(last))
    .zrange(key("prioritized"), String(-SAMPLED), "-1");
  const replies = await repliesOf(read.exec());
  const lists = [0, 3, 6].map((at) => {
    const [count, first, end] = replies.slice(at, at + 3) as [number, string[], string[]];
    return { count, ids: [...new Set([...first, ...end])] };
  });
  const names = redis.pipeline();
  for (const { ids } of lists) for (const id of ids) names.hget(key(id), "name");
  const found = lists.some(({ count }) => count > 0) ? ((await repliesOf(names.exec())) as (string | null)[]) : [];
  let items = 0;
  for (const { count, ids } of lists) {
    const sample = found.splice(0, ids.length);
    const sum = sample.reduce((total, name) => total + Number(/^slice:(\d+)$/.exec(name ?? "")?.[1] ?? 1), 0);
    if (count > 0) items += (sum / Math.max(1, sample.length)) * count;
  }
  return Math.round(items);
}

async function repliesOf(sent: Promise<[Error | null, unknown][] | null>): Promise<unknown[]> {
  return ((await sent) ?? []).map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}
