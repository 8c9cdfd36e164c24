/** BullMQ and nothing else: a process that adds jobs, or one that takes them and does nothing. */
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { connectRedis } from "../../src/redis/connect.ts";
import { KEY_PREFIX } from "../../src/schemas/names.ts";
import { answerCalls } from "./calls.ts";

export type Jobs = { redis: string; queue: string; count: number /** At a time. */; parallel: number };

const opened = new AsyncDisposableStack();
let redis: Redis | undefined;

const calls = {
  /** Adds jobs with this payload, `parallel` of them at a time. */
  add: async ({ redis: url, queue: name, count, parallel, payload }: Jobs & { payload: unknown }): Promise<void> => {
    const queue = new Queue(name, { connection: connectionTo(url), prefix: KEY_PREFIX });
    let added = 0;
    const adder = async () => {
      while (added < count)
        await queue.add("slice", payload, { jobId: `job-${added++}`, attempts: 5, removeOnComplete: true });
    };
    await Promise.all(Array.from({ length: parallel }, adder));
    await queue.close();
  },

  /** Resolves when `count` jobs are done. @returns seconds from this call on */
  drain: async ({ redis: url, queue, count, parallel }: Jobs): Promise<number> => {
    const startedAt = performance.now();
    const options = { connection: connectionTo(url), prefix: KEY_PREFIX, concurrency: parallel };
    const worker = new Worker(queue, async () => {}, options);
    let done = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.on("completed", () => {
      done += 1;
      if (done === count) resolve();
    });
    await Promise.race([promise, once(worker, "error")]);
    const seconds = (performance.now() - startedAt) / 1000;
    await worker.close();
    if (done < count) throw new Error(`BullMQ's worker stopped at ${done} of ${count} jobs`);
    return seconds;
  },
};
export type BullmqCalls = typeof calls;

function connectionTo(url: string): Redis {
  redis ??= opened.adopt(connectRedis({ url }, "worker"), (connection) => connection.disconnect());
  return redis;
}

answerCalls(calls, () => opened.disposeAsync());
