import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Queue, QueueEvents } from "bullmq";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { waitingEvents } from "../../../src/runs/queues/results-queue.ts";
import { SingleEnds } from "../../../src/runs/single-results.ts";
import { parseEvent } from "../../../src/schemas/event.ts";
import type { Job } from "../../../src/schemas/job.ts";
import {
  DEAD_LETTER_QUEUE,
  jobId,
  KEY_PREFIX,
  partKey,
  queueName,
  runChannel,
  singleKey,
} from "../../../src/schemas/names.ts";
import { MAX_DEAD_LETTERS } from "../../../src/workers/queue/dead-letters.ts";
import { FAST, TestPipeline } from "../../helpers/runs/pipeline.ts";

const MODEL = "tiny-sentiment";

/** A worker, its interactive queue, and a valid single. */
async function serve(pipeline: TestPipeline, lockMs = 20_000) {
  // Parsing ten million items blocks the thread that renews locks for a while.
  await pipeline.worker({ threads: 1, lockMs });
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
      ...{ v: 3, run, slice: 0, single: true, output: pipeline.output("out"), key: singleKey(run), topK: 2 },
      model: { id: model.id, digest: model.digest, task: "text-classification" },
      events: "none",
      sources: ["submitted:"],
      items: [{ id: "1", source: 0, record: 0, text: "good" }],
    };
  };
  const end = async (job: unknown, id: string): Promise<string> => {
    // No attempts are set, as a producer in another language may forget to.
    const added = await queue.add("slice", job, { jobId: id });
    return added.waitUntilFinished(events).then(
      () => "done",
      (error: Error) => error.message,
    );
  };
  /** Adds a job, writes `fields` into its hash in Redis, and waits until it has failed. */
  const endRaw = async (id: string, fields: Record<string, string>): Promise<void> => {
    const failed = Promise.withResolvers<void>();
    const onFailed = ({ jobId }: { jobId: string }) => jobId === id && failed.resolve();
    events.on("failed", onFailed);
    const job = await queue.add("slice", {}, { jobId: id, delay: 3_600_000 });
    await connection.hset(queue.toKey(id), fields);
    await job.promote();
    await failed.promise;
    events.off("failed", onFailed);
  };
  return { good, end, endRaw, dead, queue, connection, ends: new SingleEnds(connection) };
}

test("a job that cannot be parsed, of another version or for another model becomes a dead letter with the reason, and is not retried", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, dead, queue } = await serve(pipeline);
  const cases: [RegExp, (job: Job) => unknown][] = [
    [/^JOB_INVALID: v: /, (job) => ({ ...job, v: 1 })],
    [/^JOB_INVALID: key: /, (job) => ({ ...job, key: "../../etc/passwd" })],
    [/^JOB_INVALID: key: /, (job) => ({ ...job, single: undefined })],
    [/^JOB_INVALID: slice: /, (job) => ({ ...job, slice: 1 })],
    [/^JOB_INVALID: model\.digest: /, (job) => ({ ...job, model: { ...job.model, digest: "0".repeat(64) } })],
    [
      /^JOB_INVALID: model\.task: expected text-classification/,
      (job) => ({ ...job, model: { ...job.model, task: "image-classification" } }),
    ],
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
  assert.equal(await end(last, jobId(last.run, 0)), "done", "the worker still runs");
});

test("an output outside the grants fails permanently, in any spelling, and nothing is opened", async () => {
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
    assert.ok((await ends.get(job.run))?.failed, "the caller is notified");
  }
  const last = good();
  assert.equal(await end(last, jobId(last.run, 0)), "done", "the worker still runs");
});

test("the failure of a single that cannot be parsed is an event on its channel, at its key and on the results queue", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, ends, connection } = await serve(pipeline);
  const channels = new Channels(await pipeline.connection());
  const job = good();
  const heard = Promise.withResolvers<string>();
  await channels.listen(runChannel(job.run), heard.resolve);
  const bad = { ...job, events: "rows", items: [{ ...job.items![0], text: undefined }] };
  assert.match(await end(bad, jobId(job.run, 0)), /^JOB_INVALID: items\.0/);
  const event = parseEvent(await heard.promise);
  assert.equal(event?.failed?.code, "JOB_INVALID");
  assert.equal(event?.output, job.output);
  assert.deepEqual(await ends.get(job.run), event);
  const waiting = [];
  for await (const each of waitingEvents(connection)) waiting.push(each);
  assert.deepEqual(waiting, [event]);

  // Its id is not a job id, but the payload names the run of the caller.
  const other = good();
  assert.match(await end({ ...other, topK: 0 }, "mine-1"), /^JOB_INVALID: topK/);
  assert.equal((await ends.get(other.run))?.failed?.code, "JOB_INVALID");
});

test("a slice of an unknown run, or one that its run did not plan, becomes a dead letter, and nothing is written", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, dead, connection } = await serve(pipeline);
  const { single: _single, ...job } = good();
  const slice = (number: number) => ({ ...job, slice: number, key: partKey(job.run, number) });
  const reason = /^JOB_INVALID: slice \d is in no plan of a run/;
  assert.match(await end(slice(0), jobId(job.run, 0)), reason);
  const ledger = new RunLedger(connection);
  await ledger.begin(job.run, { output: job.output, model: job.model, lane: "bulk" });
  await ledger.plan(job.run, [{ slice: 0, ranges: [{ input: 0, first: 0, count: 1 }] }], 1);
  await ledger.planDone(job.run, { slices: 1, items: 1 });
  assert.match(await end(slice(1), jobId(job.run, 1)), reason);
  assert.equal(await dead.getWaitingCount(), 2);
  await assert.rejects(readdir(join(pipeline.folder, "out")), { code: "ENOENT" });
  assert.equal(await end(slice(0), jobId(job.run, 0)), "done");
});

test("a slice that its run may still plan waits without using an attempt", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, dead, queue, connection } = await serve(pipeline);
  const { single: _single, ...job } = good();
  const slice = { ...job, slice: 1, key: partKey(job.run, 1) };
  const ledger = new RunLedger(connection);
  await ledger.begin(job.run, { output: job.output, model: job.model, lane: "interactive" });
  const ended = end(slice, jobId(job.run, 1));
  while ((await queue.getDelayedCount()) === 0);
  const ranges = [{ input: 0, first: 0, count: 1 }];
  await ledger.plan(job.run, [{ slice: 1, ranges }], 1);
  assert.equal(await ended, "done");
  assert.equal(await dead.getWaitingCount(), 0);
});

test("a job that BullMQ cannot read becomes one dead letter, unchanged", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, endRaw, dead, queue } = await serve(pipeline, FAST.lockMs);
  const raw: Record<string, string>[] = [
    { data: '{"run": ' },
    { opts: "attempts=5" },
    { opts: "null" },
    { progress: "half" },
    { opts: JSON.stringify({ attempts: 3, priority: -1 }) },
  ];
  for (const [at, fields] of raw.entries()) await endRaw(`raw-${at}`, fields);
  const last = good();
  assert.equal(await end(last, jobId(last.run, 0)), "done");
  const letters = await dead.getWaiting();
  assert.deepEqual(
    letters.map(({ data }) => data.job).toSorted(),
    raw.map((_, at) => `raw-${at}`),
  );
  assert.equal(letters.find(({ data }) => data.job === "raw-0")?.data.data, '{"run": ');
  assert.equal(await queue.getJobCountByTypes("waiting", "delayed", "active", "failed"), 0);
});

test("a dead letter is kept once and bounded in size; of more than 1,000 the oldest are removed", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end, dead, queue, connection } = await serve(pipeline);
  await dead.addBulk(Array.from({ length: MAX_DEAD_LETTERS }, (_, at) => ({ name: "dead", data: { at } })));
  const job = good();
  await end({ ...job, junk: "x".repeat(20_000_000) }, jobId(job.run, 0));
  const letters = await dead.getWaiting();
  assert.equal(letters.length, MAX_DEAD_LETTERS);
  assert.deepEqual(
    letters.filter(({ data }) => data.at === 0),
    [],
  );
  assert.equal(letters.find(({ data }) => data.job === jobId(job.run, 0))?.data.data.length, 100_000);
  assert.equal(await queue.getJob(jobId(job.run, 0)), undefined);
  const [key] = await connection.keys(`${queue.toKey("")}*${job.run}*`);
  assert.equal(key, undefined);
});

test("jobs whose split names a named pipe fail at once, even if there are more than pool threads; the worker goes on and ends", async () => {
  await using pipeline = await TestPipeline.open();
  const { good, end } = await serve(pipeline);
  const path = join(pipeline.folder, "fifo.csv");
  assert.equal(spawnSync("mkfifo", [path]).status, 0);
  const input = { uri: pathToFileURL(path).href, size: 100, modifiedAt: null, hash: null };
  const read = { format: "csv", delimiter: ",", column: "text", idColumn: null, keep: [] };
  const places = [
    { kind: "text", offset: 5, bytes: 50, line: 2, width: 1, places: [0] },
    { kind: "parquet" },
    { kind: "tar", offset: 0, bytes: 1024, images: [0, 512] },
  ];
  const ends = Array.from({ length: 12 }, (_, i) => {
    const { items, sources, ...job } = good();
    return end({ ...job, splits: [{ input, first: 0, count: 1, at: places[i % 3], read }] }, jobId(job.run, 0));
  });
  for (const said of await Promise.all(ends)) assert.match(said, /^INPUT_(CHANGED|UNREADABLE): .*regular file/);
  const last = good();
  assert.equal(await end(last, jobId(last.run, 0)), "done", "the worker still runs");
});
