import type { Redis } from "ioredis";
import { jobId, KEY_PREFIX } from "../../schemas/names.ts";
import { endKey } from "../single-results.ts";

/** What Redis has of a single: its job (`failed`: without another attempt), and its end. */
export type SingleState = { job: "queued" | "failed" | "missing"; ended: boolean };

/**
 * The states of singles, in one round trip. A worker stores the end before BullMQ removes the job, and the job is read first: a single that
 * has neither is lost.
 */
export async function singleStates(
  redis: Redis,
  singles: readonly { run: string; queue: string }[],
): Promise<SingleState[]> {
  const commands = redis.pipeline();
  for (const { run, queue } of singles) {
    const id = jobId(run, 0);
    commands.exists(jobKey(queue, id)).zscore(jobKey(queue, "failed"), id).exists(endKey(run));
  }
  const replies = await repliesOf(commands.exec());
  return singles.map((_, at) => {
    const [exists, failedAt, ended] = replies.slice(at * 3, at * 3 + 3);
    return { job: exists === 0 ? "missing" : failedAt === null ? "queued" : "failed", ended: ended === 1 };
  });
}

/** Which jobs of a queue exist, in any state, by their ids. */
export async function existingJobs(redis: Redis, queue: string, ids: readonly string[]): Promise<Set<string>> {
  const commands = redis.pipeline();
  for (const id of ids) commands.exists(jobKey(queue, id));
  const replies = await repliesOf(commands.exec());
  return new Set(ids.filter((_, at) => replies[at] === 1));
}

/** Which jobs of a queue exist, by their ids, and whether each is finished: completed, or failed without another attempt. */
export async function jobsFinished(redis: Redis, queue: string, ids: readonly string[]): Promise<Map<string, boolean>> {
  const commands = redis.pipeline();
  for (const id of ids)
    commands.exists(jobKey(queue, id)).zscore(jobKey(queue, "completed"), id).zscore(jobKey(queue, "failed"), id);
  const replies = await repliesOf(commands.exec());
  const found = new Map<string, boolean>();
  for (const [at, id] of ids.entries()) {
    const [exists, completedAt, failedAt] = replies.slice(at * 3, at * 3 + 3);
    if (exists === 1) found.set(id, completedAt !== null || failedAt !== null);
  }
  return found;
}

/** Why a job failed. Null if it did not, or does not exist. */
export function failedReason(redis: Redis, queue: string, id: string): Promise<string | null> {
  return redis.hget(jobKey(queue, id), "failedReason");
}

async function repliesOf(sent: Promise<[Error | null, unknown][] | null>): Promise<unknown[]> {
  return ((await sent) ?? []).map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}

/** BullMQ's key of a job, or of a set of jobs. */
function jobKey(queue: string, name: string): string {
  return `${KEY_PREFIX}:${queue}:${name}`;
}
