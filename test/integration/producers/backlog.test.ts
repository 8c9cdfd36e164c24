import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { Backlog } from "../../../src/producers/client/backlog.ts";
import { queuedItems, sliceJobName } from "../../../src/runs/queues/backlog.ts";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { queueName } from "../../../src/schemas/names.ts";
import { collected, declared, MODEL, openAccepting } from "../../helpers/runs/accepting.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";

test("the items of a queue are counted from a sample of its jobs", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const model = { id: "m", digest: "0".repeat(64) };
  const name = queueName(model, "bulk");
  assert.equal(await queuedItems(redis, name), 0);
  const queue = openQueue(redis, name);
  pipeline.defer(() => queue.close());
  const slice = sliceJobName({ items: new Array(40).fill({}) as never });
  for (let i = 0; i < 100; i++) await queue.add(slice, {}, i % 2 === 0 ? { priority: i + 1 } : {});
  assert.equal(await queuedItems(redis, name), 4000);
  await queue.add("of another producer", {});
  assert.ok((await queuedItems(redis, name)) <= 4040);
});

test("a backlog in seconds uses the rate of the workers, and without one the last measured rate", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const registry = new WorkerRegistry(redis);
  const { pin } = await declared();
  const worker = (id: string, itemsPerSecond: number | null) =>
    workerInfo({ id: id.repeat(16), models: [servedModel({ ...pin, itemsPerSecond })] });
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const texts = new Array(100).fill("good");
  for (let i = 0; i < 5; i++) await accepting.accepter.accept({ submission: { model: MODEL, texts }, owner: "-" });
  const seconds = () => new Backlog(redis).seconds(pin);
  assert.equal(await seconds(), 50, "10 items a second are assumed");
  await registry.beat(worker("a", 100));
  await registry.beat(worker("b", 25));
  assert.equal(await seconds(), 4);
  for (const id of ["a", "b"]) await registry.leave(id.repeat(16));
  assert.equal(await seconds(), 20, "the last rate is that of b");
  await registry.beat(worker("c", null));
  assert.equal(
    (await registry.lastOf(pin.digest))?.itemsPerSecond,
    25,
    "a worker that has not measured keeps the rate",
  );
  const one = new Backlog(redis);
  assert.equal(await one.seconds(pin), 20);
  await redis.flushall();
  assert.equal(await one.seconds(pin), 20, "an answer is reused for a second");
  assert.equal(await seconds(), 0);
  assert.equal((await collected(accepting.journal.runs())).length, 5);
});
