import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { QueueEvents } from "bullmq";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import type { Job } from "../../../src/schemas/job.ts";
import { jobId, KEY_PREFIX, queueName, singleKey } from "../../../src/schemas/names.ts";
import { currentWork } from "../../helpers/model-work.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { hostileServer } from "../../helpers/servers/hostile-server.ts";

test("the wait of a slice is not negative and at most a year, whatever the producer's clock says", async () => {
  await using pipeline = await TestPipeline.open();
  const worker = await pipeline.worker({ threads: 1 });
  const { model } = worker.engines[0]!;
  const redis = await pipeline.connection();
  const queue = openQueue(redis, queueName(model, "bulk"));
  pipeline.defer(() => queue.close());
  const events = new QueueEvents(queue.name, { connection: redis.duplicate(), prefix: KEY_PREFIX });
  pipeline.defer(() => events.close());
  await events.waitUntilReady();
  for (const timestamp of [Date.now() + 3_600_000, -1e300, 1, 1e300]) {
    const run = randomBytes(8).toString("hex");
    const job: Job = {
      v: 3,
      run,
      slice: 0,
      single: true,
      model: { id: model.id, digest: model.digest, task: "text-classification" },
      output: pipeline.output("out"),
      key: singleKey(run),
      topK: 1,
      events: "none",
      sources: ["memory:texts"],
      items: [{ id: "a", source: 0, record: 0, text: "fine" }],
    };
    const added = await queue.add("slice", job, { jobId: jobId(run, 0), timestamp });
    await added.waitUntilFinished(events);
  }
  const { wait } = (await currentWork(pipeline)).stages;
  assert.deepEqual(wait, { count: 4, meanMs: 0 });
});

test("images that cannot be fetched or decoded count too, so that their time is visible", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1, allowPrivate: true }, { models: ["tiny-image"] });
  await using server = await hostileServer((response, { url }) => {
    if (url === "/gone.jpg") response.writeHead(404);
    response.end("no picture");
  });
  await using producer = await pipeline.producer();
  const urls = ["gone", "text"].map((name) => `${server.origin}/${name}.jpg`);
  const submission = await producer.submit({ model: "tiny-image", images: urls.map((image) => ({ image })) });
  await submission.wait();
  const { fetch, prepare, queue, infer } = (await currentWork(pipeline)).stages;
  assert.deepEqual(
    [fetch, prepare, queue, infer].map(({ count }) => count),
    [2, 1, 0, 0],
  );
});
