import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { ServedModels } from "../../../src/producers/client/served-models.ts";
import { SingleRun } from "../../../src/producers/client/single-run.ts";
import { RedisRoom } from "../../../src/producers/planning/redis-room.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { SingleEnds } from "../../../src/runs/single-results.ts";
import type { Job } from "../../../src/schemas/job.ts";
import { jobId, runChannel, singleKey } from "../../../src/schemas/names.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";

const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

test("an end that arrives before the reply of the queue leaves no timer", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const channels = new Channels(await pipeline.connection());
  const ends = new SingleEnds(redis);
  const queue = openQueue(redis, "q");
  pipeline.defer(() => queue.close());
  const run = randomBytes(8).toString("hex");
  const model = { id: "m", digest: "0".repeat(64) };
  const job: Job = {
    ...{ v: 3, run, slice: 0, single: true, output: "s3://b/", key: singleKey(run), topK: 1, events: "none" },
    model: { ...model, task: "text-classification" },
    sources: ["submitted:"],
    items: [{ id: "1", source: 0, record: 0, text: "x" }],
  };
  const received = Promise.withResolvers<void>();
  // A worker that is faster than the reply to `add`.
  const slow = new Proxy(queue, {
    get: (target, name) =>
      name === "add"
        ? async () => {
            await channels.listen(runChannel(run), () => received.resolve());
            const counts = { rows: 1, errors: 0, labels: { A: 1 } };
            await ends.set({
              v: 1,
              id: jobId(run, 0),
              run,
              slice: 0,
              output: "s3://b/",
              part: job.key,
              model,
              ...counts,
            });
            await received.promise;
          }
        : Reflect.get(target, name, target),
  });
  const before = timers();
  const deps = {
    ...{ single: { job, lane: "interactive" as const }, queue: slow, channels, ends },
    room: new RedisRoom(redis, 1000, () => {}),
    lost: () => new LabelmillError("REDIS_UNREACHABLE", "lost"),
    openToRead: () => Promise.reject(new Error("not needed")),
  };
  const single = await SingleRun.start(deps, new AbortController().signal);
  assert.equal((await single.wait()).state, "succeeded");
  assert.equal(timers(), before);
});

test("a listener that could not subscribe is removed", async () => {
  await using pipeline = await TestPipeline.open();
  const subscriber = await openRedis({ url: pipeline.redis.url }, "producer");
  pipeline.defer(() => subscriber.disconnect());
  const channels = new Channels(subscriber);
  await pipeline.redis.kill();
  let failed = 0;
  await assert.rejects(channels.listen("c", () => failed++));
  await pipeline.redis.restart();
  if (subscriber.status !== "ready") await once(subscriber, "ready");
  const message = Promise.withResolvers<string>();
  await channels.listen("c", message.resolve);
  await (await pipeline.connection()).publish("c", "hello");
  assert.equal(await message.promise, "hello");
  assert.equal(failed, 0);
});

test("concurrent submissions look up the workers once", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const redis = await pipeline.connection();
  const monitor = await redis.monitor();
  const lookups: string[] = [];
  const last = Promise.withResolvers<void>();
  monitor.on("monitor", (_time: string, args: string[]) => {
    if (args[0]?.toLowerCase() === "smembers") lookups.push(args[1]!);
    if (args[1] === "last") last.resolve();
  });
  const models = new ServedModels(redis);
  await Promise.all(Array.from({ length: 50 }, () => models.find("tiny-sentiment")));
  await redis.echo("last");
  await last.promise;
  monitor.disconnect();
  assert.equal(lookups.length, 1);
});
