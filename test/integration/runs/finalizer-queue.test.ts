import assert from "node:assert/strict";
import { on } from "node:events";
import { test } from "node:test";
import { Queue, Worker } from "bullmq";
import { FinalizerQueue } from "../../../src/runs/queues/finalizer-queue.ts";
import { compactJobId, finalizeJobId, KEY_PREFIX, RUNS_QUEUE } from "../../../src/schemas/names.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";

const RUN = "0123456789abcdef";

test("a job that waits for its next attempt keeps its attempts when it is added again; a job that failed permanently starts again", async () => {
  await using pipeline = await TestPipeline.open();
  const connection = await pipeline.connection();
  const finalizers = new FinalizerQueue(connection, { attempts: 2, backoffMs: 3_600_000 });
  pipeline.defer(() => finalizers.close());
  const queue = new Queue(RUNS_QUEUE, { connection, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  const ask = async () => {
    await finalizers.add(RUN, "memory:x");
    await finalizers.compact({ run: RUN, output: "memory:x", range: 0, first: 0, last: 1 });
  };
  const ids = [finalizeJobId(RUN, false), compactJobId(RUN, 0)];
  const tries = async () => {
    const jobs = await Promise.all(ids.map((id) => queue.getJob(id)));
    return jobs.map((job) => job!.attemptsMade);
  };
  await ask();
  const failing = new Worker(RUNS_QUEUE, () => Promise.reject(new Error("no")), { connection, prefix: KEY_PREFIX });
  pipeline.defer(() => failing.close());
  const failures = on(failing, "failed");
  const failed = async () => {
    for (const _ of ids) await failures.next();
  };
  await failed();
  await ask();
  assert.deepEqual(await tries(), [1, 1]);
  const forGood = failed();
  for (const id of ids) await (await queue.getJob(id))!.promote();
  await forGood;
  assert.deepEqual(await tries(), [2, 2]);
  await failing.close();
  await ask();
  assert.deepEqual(await tries(), [0, 0]);
});
