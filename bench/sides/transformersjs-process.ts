/** A BullMQ processor around the transformers.js pipeline, as a user would write it: its own process, and a Redis server like that of the pipeline. */
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { performance } from "node:perf_hooks";
import { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { connectRedis } from "../../src/redis/connect.ts";
import { openInput } from "../inputs/inputs.ts";
import { answerCalls } from "../processes/calls.ts";
import { startOwnRedis } from "../processes/redis.ts";
import type { Rate } from "../report/rounds.ts";

type Classify = (texts: string[]) => Promise<{ label: string; score: number }[]>;
type Transformers = {
  env: { allowRemoteModels: boolean; localModelPath: string };
  pipeline(task: string, model: string, options: { dtype: string; device: string }): Promise<Classify>;
};
export type TransformersjsRun = { input: string; items: number; perJob: number; concurrency: number };

/** The model runs on the thread that renews the locks, so their duration must be much longer than the longest job. */
const LOCK_MS = 600_000;

const opened = new AsyncDisposableStack();
let started: { classify: Classify; redis: Redis } | undefined;

const calls = {
  /** @param packages the folder in which transformers.js is installed */
  start: async ({ packages, model }: { packages: string; model: string }): Promise<void> => {
    const { env, pipeline } = createRequire(join(packages, "package.json"))(
      "@huggingface/transformers",
    ) as Transformers;
    env.allowRemoteModels = false;
    env.localModelPath = dirname(model);
    const classify = await pipeline("text-classification", basename(model), { dtype: "fp32", device: "cpu" });
    const server = await startOwnRedis();
    opened.defer(() => server.close());
    const redis = connectRedis(server.address, "worker");
    opened.defer(() => redis.disconnect());
    started = { classify, redis };
  },

  /** The first `items` texts of the input, `perJob` in each job. The clock runs from the first job's adding to the last one's end. */
  run: async ({ input, items, perJob, concurrency }: TransformersjsRun): Promise<Rate> => {
    const { classify, redis: connection } = started!;
    const texts: string[] = [];
    for await (const { text } of (await openInput("text", input)).records())
      if (texts.length < items) texts.push(text!);
    const name = `bench-${randomBytes(4).toString("hex")}`;
    const startedAt = performance.now();
    await using queue = new AsyncDisposableStack();
    const jobs = queue.adopt(new Queue(name, { connection }), (each) => each.close());
    const options = { connection, concurrency, lockDuration: LOCK_MS, removeOnComplete: { count: 1000 } };
    const worker = queue.adopt(new Worker(name, (job) => classify(job.data.texts), options), (each) => each.close());
    let left = Math.ceil(texts.length / perJob);
    const { promise: done, resolve, reject } = Promise.withResolvers<void>();
    worker.on("completed", () => --left === 0 && resolve());
    worker.on("failed", (_job, error) => reject(error));
    worker.on("error", reject);
    const arrays = Array.from({ length: left }, (_, at) => texts.slice(at * perJob, (at + 1) * perJob));
    await jobs.addBulk(arrays.map((some) => ({ name: "classify", data: { texts: some } })));
    await done;
    const seconds = (performance.now() - startedAt) / 1000;
    return { items: texts.length, seconds };
  },
};
export type TransformersjsCalls = typeof calls;

answerCalls(calls, () => opened.disposeAsync());
