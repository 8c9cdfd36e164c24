import type { Redis } from "ioredis";
import { jobId, type Lane, queueName } from "../../schemas/names.ts";
import type { SliceRecord } from "../ledger/slices.ts";
import { openQueue, readJob } from "./queue.ts";

/** A slice of a paused run lies aside for so long where nobody calls it back. */
export const PARKED_MS = 3_600_000;

/** Slices asked for at a time. */
const AT_ONCE = 100;

/** Puts the unfinished slices of a run that lie aside back into its queue. */
export async function promoteParked(
  redis: Redis,
  run: string,
  { model, lane }: { model: { id: string; digest: string }; lane: Lane },
  slices: AsyncIterable<SliceRecord>,
): Promise<void> {
  const queue = openQueue(redis, queueName(model, lane));
  try {
    let ids: string[] = [];
    const promote = async () => {
      const jobs = await Promise.all(ids.map((id) => readJob(queue, id)));
      ids = [];
      // One that was not parked is in no delayed set, and stays where it is.
      await Promise.all(jobs.map((job) => job && job.delay > 0 && job.promote().catch(() => {})));
    };
    for await (const { slice, receipt, failed } of slices) {
      if (receipt || failed) continue;
      ids.push(jobId(run, slice));
      if (ids.length === AT_ONCE) await promote();
    }
    await promote();
  } finally {
    await queue.close();
  }
}
