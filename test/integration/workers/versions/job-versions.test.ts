import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { WorkerRegistry } from "../../../../src/fleet/registry.ts";
import { loadBuiltIn } from "../../../../src/models/built-in.ts";
import { planFromRunFile } from "../../../../src/producers/planning/plan-from-run-file.ts";
import { checkWorkers } from "../../../../src/producers/runs/check-workers.ts";
import { jobRetries } from "../../../../src/runs/queues/job-retries.ts";
import { PlanQueue } from "../../../../src/runs/queues/plan-queue.ts";
import { openQueue } from "../../../../src/runs/queues/queue.ts";
import { type LabelEvent, parseEvent } from "../../../../src/schemas/event.ts";
import {
  jobId,
  PLANS_QUEUE,
  plansQueue,
  queueName,
  runChannel,
  runsQueue,
  singleKey,
} from "../../../../src/schemas/names.ts";
import { FAST, TestPipeline, writeTexts } from "../../../helpers/runs/pipeline.ts";
import { servedModel, workerInfo } from "../../../helpers/runs/worker-info.ts";
import { isError } from "../../../helpers/store-conformance.ts";

const MODEL = "tiny-sentiment";
const RETRIES = { attempts: 2, backoffMs: 100 };

/** Adds a single of version 2 as a producer of that version does, and returns its event. */
async function submitVersion2(pipeline: TestPipeline, more: object = {}): Promise<LabelEvent> {
  const { id, digest, task } = await loadBuiltIn(MODEL);
  const run = randomBytes(8).toString("hex");
  const job = {
    ...{ v: 2, run, slice: 0, single: true, output: pipeline.output("out"), key: singleKey(run), topK: 2 },
    ...{ model: { id, digest, task }, events: "none", sources: ["submitted:"] },
    items: [{ id: "1", source: 0, record: 0, text: "good" }],
    ...more,
  };
  const subscriber = await pipeline.connection();
  await subscriber.subscribe(runChannel(run));
  const message = once(subscriber, "message");
  const queue = openQueue(await pipeline.connection(), queueName({ id, digest }, "interactive", 2));
  await queue.add("slice", job, { jobId: jobId(run, 0), ...jobRetries(RETRIES) });
  await queue.close();
  return parseEvent((await message)[1])!;
}

test("a worker does the jobs of version 2, and refuses fields of version 3 in them", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const event = await submitVersion2(pipeline);
  assert.deepEqual([event.rows, event.errors, event.failed], [1, 0, undefined]);
  const refused = await submitVersion2(pipeline, { results: [{ to: "webhook", endpoint: "ours" }] });
  assert.equal(refused.failed?.code, "JOB_INVALID");
  assert.match(refused.failed!.message, /^v: expected 3/);
});

test("a worker plans and closes the runs of version 2", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 40);
  const { runFile, store } = await pipeline.submit(
    { kind: "text", path, model: MODEL, out: "out" },
    { sliceItems: 10 },
  );
  const { run } = runFile;
  const [plans, older] = [openQueue(redis, PLANS_QUEUE), openQueue(redis, plansQueue(2))];
  const job = (await plans.getJob(`${run}-plan`))!;
  await older.add("plan", { ...job.data, v: 2 }, { ...jobRetries(RETRIES), jobId: job.id! });
  await job.remove();
  await Promise.all([plans, older].map((queue) => queue.close()));
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  assert.equal(await pipeline.ended(run), "succeeded");

  const runs = openQueue(redis, runsQueue(2));
  const again = await runs.add("finalize", { v: 2, run, output: store.uri }, jobRetries(RETRIES));
  while ((await runs.getJobState(again.id!)) !== "unknown") await redis.ping();
  await runs.close();
});

test("a run that a planner of version 2 is planning is not planned a second time", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const run = randomBytes(8).toString("hex");
  const planning = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const plan = async () => {
    planning.resolve();
    await release.promise;
    return "succeeded" as const;
  };
  await pipeline.worker({ threads: 1 }, { plan });
  const older = openQueue(redis, plansQueue(2));
  const output = pipeline.output("out");
  await older.add("plan", { v: 2, run, output }, { ...jobRetries(RETRIES), jobId: `${run}-plan` });
  await planning.promise;
  const plans = new PlanQueue(redis, RETRIES);
  await plans.add(run, output);
  await plans.close();
  const current = openQueue(redis, PLANS_QUEUE);
  assert.equal(await current.getJobState(`${run}-plan`), "unknown");
  release.resolve();
  await Promise.all([older, current].map((queue) => queue.close()));
});

test("the queues of both versions share what a worker may have in hand", async () => {
  await using pipeline = await TestPipeline.open();
  const { id, digest } = await loadBuiltIn(MODEL);
  const gate = Promise.withResolvers<void>();
  let [taken, most] = [0, 0];
  await pipeline.worker(
    { threads: 1 },
    {
      around: ({ steps, label }) => ({
        steps,
        label: async (items, ...rest) => {
          taken += items.length;
          most = Math.max(most, taken);
          await gate.promise;
          taken -= items.length;
          return label(items, ...rest);
        },
      }),
    },
  );
  const redis = await pipeline.connection();
  const texts = Array.from({ length: 64 }, (_, record) => ({ id: `${record}`, source: 0, record, text: "good" }));
  const older = Array.from({ length: 5 }, () => submitVersion2(pipeline, { items: texts }));
  const producer = await pipeline.producer();
  const runs = await Promise.all(
    Array.from({ length: 5 }, () => producer.submit({ model: MODEL, texts: texts.map(({ text }) => text) })),
  );
  const queues = ([3, 2] as const).map((version) =>
    openQueue(redis, queueName({ id, digest }, "interactive", version)),
  );
  // A worker that took too much would do so within these round trips.
  for (let i = 0; i < 300; i += 1) await redis.ping();
  const active = await Promise.all(queues.map((queue) => queue.getActiveCount()));
  assert.ok(
    active.every((count) => count >= 1),
    `${active}: each version has its turn`,
  );
  // Four batches of 32 for the one thread, and one slice more of the queue that takes second.
  assert.ok(most <= 4 * 32 + 64, `${most} items in hand`);
  gate.resolve();
  await Promise.all(queues.map((queue) => queue.close()));
  await Promise.all([...older, ...runs.map((run) => run.wait())]);
});

test("a model that only older workers serve has no worker", async () => {
  await using pipeline = await TestPipeline.open();
  const model = await loadBuiltIn(MODEL);
  const { id, revision, digest, dtype, task } = model;
  const older = workerInfo({
    models: [servedModel({ id, revision, digest, dtype, task })],
    fileRoots: [pipeline.folder],
  });
  delete older.jobVersions;
  const registry = new WorkerRegistry(await pipeline.connection());
  await registry.beat(older);
  const refused = isError("NO_WORKER", /only older workers .*take no jobs of version 3/);
  const producer = await pipeline.producer();
  await assert.rejects(producer.submit({ model: MODEL, texts: ["good"] }), refused);
  await assert.rejects(checkWorkers([older], model, { output: pipeline.output("out"), inputs: [] }), refused);
  await checkWorkers([older, { ...older, jobVersions: [3, 2] }], model, { output: pipeline.output("out"), inputs: [] });
});

test("a worker registers the versions of jobs that it serves", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1, ...FAST });
  const [worker] = await new WorkerRegistry(await pipeline.connection()).workers();
  assert.deepEqual(worker!.jobVersions, [3, 2]);
});
