import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Redis } from "ioredis";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { droppedEvents, waitingEvents } from "../../../src/runs/queues/results-queue.ts";
import type { Job } from "../../../src/schemas/job.ts";
import { partKey, RESULTS_QUEUE } from "../../../src/schemas/names.ts";
import type { Row } from "../../../src/schemas/row.ts";
import { committedEvent, ResultEvents } from "../../../src/workers/result-events.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";

const BOUND = 10_000;
const run = randomBytes(8).toString("hex");

function eventOf(slice: number) {
  const source = { uri: "submitted:", record: 0 };
  const row: Row = { id: "1", label: "A", score: 1, labels: [{ label: "A", score: 1 }], source };
  const job: Job = {
    ...{ v: 3, run, slice, output: "s3://bucket/", key: partKey(run, slice), topK: 1, events: "rows" },
    model: { id: "m", digest: "0".repeat(64), task: "text-classification" },
    sources: ["submitted:"],
    items: [{ id: "1", source: 0, record: 0, text: "x" }],
  };
  const receipt = { rows: 1, errors: 0, bytes: 9, sha256: "0".repeat(64) };
  return committedEvent(job, { receipt, labels: { A: 1 }, errorCodes: {}, rows: [row] });
}

async function publish(events: ResultEvents, from: number, count: number): Promise<void> {
  for (let at = from; at < from + count; at += 100)
    await Promise.all(Array.from({ length: 100 }, (_, i) => events.publish(eventOf(at + i))));
}

async function memory(redis: Redis): Promise<number> {
  return Number(/used_memory_dataset:(\d+)/.exec(await redis.info("memory"))![1]);
}

test("20,000 unread events do not grow Redis beyond the limit; the oldest are dropped and counted", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const events = new ResultEvents(redis, BOUND);
  await publish(events, 0, BOUND);
  const atTheBound = await memory(redis);
  await publish(events, BOUND, BOUND);
  const waiting: number[] = [];
  for await (const { slice } of waitingEvents(redis)) waiting.push(slice);
  assert.ok(waiting.length <= BOUND && waiting.length > 0.9 * BOUND, `${waiting.length} wait`);
  assert.equal(waiting.length + (await droppedEvents(redis)), 2 * BOUND);
  const first = 2 * BOUND - waiting.length;
  assert.deepEqual(
    waiting.toSorted((a, b) => a - b),
    waiting.map((_, i) => first + i),
  );
  assert.ok((await memory(redis)) < 1.1 * atTheBound, `${await memory(redis)} bytes, ${atTheBound} at the bound`);
  await events.close();
});

test("a surplus of any size is dropped to the limit and not below it, by any number of workers", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const queue = openQueue(redis, RESULTS_QUEUE);
  const bound = 1000;
  const surplus = 10_112;
  const add = (_: unknown, at: number) => ({ name: "labeled", data: eventOf(at) });
  await queue.addBulk(Array.from({ length: bound + surplus }, add));
  const workers = Array.from({ length: 4 }, () => new ResultEvents(redis, bound));
  // Each worker counts the waiting events after its 100th event.
  await Promise.all(workers.map((events, at) => publish(events, 20_000 + 100 * at, 100)));
  await publish(workers[0]!, 21_000, 100);
  assert.equal(await queue.getWaitingCount(), bound);
  assert.equal(await droppedEvents(redis), surplus + 500);
  await Promise.all([queue, ...workers].map((each) => each.close()));
});

test("a waiting event that cannot be read does not hide the others", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const queue = openQueue(redis, RESULTS_QUEUE);
  await queue.add("labeled", {}, { jobId: "raw" });
  await redis.hset(queue.toKey("raw"), "data", "{no json");
  const events = new ResultEvents(redis, 10);
  await events.publish(eventOf(1));
  const waiting: number[] = [];
  for await (const { slice } of waitingEvents(redis)) waiting.push(slice);
  assert.deepEqual(waiting, [1]);
  await Promise.all([queue, events].map((each) => each.close()));
});
