import type { Redis } from "ioredis";
import { jobId, type Lane, queueName, SERVED_JOB_VERSIONS } from "../../schemas/names.ts";
import type { SliceRecord } from "../ledger/slices.ts";
import { openQueue, readJob } from "./queue.ts";

/** How long a parked slice of a paused run stays delayed unless the run is resumed. */
export const PARKED_MS = 3_600_000;

/** Jobs read at a time. */
const CHUNK = 100;

/** Moves the parked slices of a run back into its queues. @param slices all slices of the run */
export async function promoteParked(
  redis: Redis,
  run: string,
  { model, lane }: { model: { id: string; digest: string }; lane: Lane },
  slices: AsyncIterable<SliceRecord>,
): Promise<void> {
  const queues = SERVED_JOB_VERSIONS.map((version) => openQueue(redis, queueName(model, lane, version)));
  try {
    let ids: string[] = [];
    const promote = async () => {
      const jobs = await Promise.all(ids.flatMap((id) => queues.map((queue) => readJob(queue, id))));
      ids = [];
      // A job that was not parked is not delayed, and stays where it is.
      await Promise.all(jobs.map((job) => job && job.delay > 0 && job.promote().catch(() => {})));
    };
    for await (const { slice, receipt, failed } of slices) {
      if (receipt || failed) continue;
      ids.push(jobId(run, slice));
      if (ids.length === CHUNK) await promote();
    }
    await promote();
  } finally {
    await Promise.all(queues.map((queue) => queue.close()));
  }
}
