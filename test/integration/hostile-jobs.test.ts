import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Queue, QueueEvents } from "bullmq";
import { loadBuiltIn } from "../../src/models/built-in.ts";
import { SingleEnds } from "../../src/runs/singles.ts";
import type { Job } from "../../src/schemas/job.ts";
import { DEAD_LETTER_QUEUE, jobId, KEY_PREFIX, queueName, singleKey } from "../../src/schemas/names.ts";
import { TestPipeline } from "../helpers/pipeline.ts";

const MODEL = "tiny-sentiment";

/** A worker, its interactive queue, and a single that is as it should be. */
async function serve(pipeline: TestPipeline) {
  // Reading ten million items stops the thread that renews locks for a while.
  await pipeline.worker({ threads: 1, lockMs: 20_000 });
  const model = await loadBuiltIn(MODEL);
  const connection = await pipeline.connection();
  const queue = new Queue(queueName(model, "interactive"), { connection, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  const events = new QueueEvents(queue.name, { connection: connection.duplicate(), prefix: KEY_PREFIX });
  pipeline.defer(() => events.close());
  await events.waitUntilReady();
  const dead = new Queue(DEAD_LETTER_QUEUE, { connection, prefix: KEY_PREFIX });
  pipeline.defer(() => dead.close());
  const good = (): Job => {
    const run = randomBytes(8).toString("hex");
    return {
      ...{ v: 2, run, slice: 0, single: true, output: pipeline.output("out"), key: singleKey(run), topK: 2 },
      model: { id: model.id, digest: model.digest, task: "text-classification" },
      events: "none",
      sources: ["submitted:"],
      items: [{ id: "1", source: 0, record: 0, text: "good" }],
    };
  };
  const end = async (job: unknown, id: string): Promise<string> => {
    // No attempts are told, as a producer in another language may forget to.
    const added = await queue.add("slice", job, { jobId: id });
    return added.waitUntilFinished(events).then(
      () => "done",
      (error: Error) => error.message,
    );
  };
  return { good, end, dead, queue, ends: new SingleEnds(connection) };
}

test("a job that does not parse, is of another version or for another model is buried with the reason, and never tried again", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, dead, queue } = await serve(pipeline);
  const cases: [RegExp, (job: Job) => unknown][] = [
    [/^JOB_INVALID: v: /, (job) => ({ ...job, v: 1 })],
    [/^JOB_INVALID: key: /, (job) => ({ ...job, key: "../../etc/passwd" })],
    [/^JOB_INVALID: key: /, (job) => ({ ...job, single: undefined })],
    [/^JOB_INVALID: slice: /, (job) => ({ ...job, slice: 1 })],
    [/^JOB_INVALID: model\.digest: /, (job) => ({ ...job, model: { ...job.model, digest: "0".repeat(64) } })],
    [/^JOB_INVALID: items: .*20000.*10000000/, (job) => ({ ...job, items: new Array(10_000_000).fill(0) })],
    [/^JOB_INVALID: /, () => "a text"],
    [/^JOB_INVALID: /, () => null],
  ];
  for (const [reason, change] of cases) {
    const job = good();
    assert.match(await end(change(job), jobId(job.run, 0)), reason);
  }
  assert.match(await end(good(), "another-id"), /^JOB_INVALID: the job's id/);
  assert.equal(await dead.getJobCountByTypes("waiting"), cases.length + 1);
  assert.equal(await queue.getJobCountByTypes("waiting", "delayed", "active"), 0);
  assert.equal(await end(good(), jobId(good().run, 0)).then((said) => said.slice(0, 11)), "JOB_INVALID");
  const last = good();
  assert.equal(await end(last, jobId(last.run, 0)), "done", "the worker lives");
});

test("an output outside the grants fails for good, in whatever way it is written, and nothing is opened", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, ends } = await serve(pipeline);
  const outputs = [
    "file:///",
    "file:///etc/",
    `${pipeline.output("out")}../../../etc/`,
    `${pipeline.output("out")}%2e%2e/%2e%2e/%2e%2e/etc/`,
    "file://host/share/",
    "memory:out",
    "s3://somebody-elses/bucket/",
    "s3://",
    "https://example.org/",
    "nonsense",
  ];
  for (const output of outputs) {
    const job = { ...good(), output };
    assert.match(await end(job, jobId(job.run, 0)), /^(NOT_GRANTED|URL_REFUSED|USAGE): /, output);
    assert.ok((await ends.get(job.run))?.failed, "whoever waits is told");
  }
  const last = good();
  assert.equal(await end(last, jobId(last.run, 0)), "done", "the worker lives");
});
