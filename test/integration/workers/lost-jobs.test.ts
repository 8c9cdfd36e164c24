import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { Queue } from "bullmq";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { Planner } from "../../../src/producers/planning/planner.ts";
import { RedisRoom } from "../../../src/producers/planning/redis-room.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import type { SliceRecord } from "../../../src/runs/ledger/slices.ts";
import { KEY_PREFIX, queueName } from "../../../src/schemas/names.ts";
import type { RunFile } from "../../../src/schemas/run.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const MODEL = "tiny-sentiment";

async function queueOf(pipeline: TestPipeline) {
  const redis = await openRedis(pipeline.redis.address, "worker");
  pipeline.defer(() => redis.disconnect());
  const queue = new Queue(queueName(await loadBuiltIn(MODEL), "bulk"), { connection: redis, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  return { redis, queue };
}

/** Settles when `count` jobs wait. Checks again at each change of the queue. */
async function waiting(pipeline: TestPipeline, queue: Queue, count: number): Promise<void> {
  const redis = await openRedis(pipeline.redis.address, "worker");
  const key = queue.toKey("events");
  for (let last = "0-0"; (await queue.getJobCountByTypes("waiting", "prioritized")) < count; ) {
    const read = await redis.xread("BLOCK", 0, "STREAMS", key, last);
    last = read!.at(-1)![1].at(-1)![0];
  }
  redis.disconnect();
}

for (const [when, windowSlices, waits] of [
  ["while the run is planned: the planner waits for them", 2, 2],
  ["when the run is planned", 32, 6],
] as const)
  test(`jobs that vanish from the queue ${when}: they are queued again`, async () => {
    await using pipeline = await TestPipeline.open();
    const { queue } = await queueOf(pipeline);
    const path = await writeTexts(join(pipeline.folder, "texts.csv"), 60);
    const settings = { sliceItems: 10, windowSlices };
    const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, settings);
    await waiting(pipeline, queue, waits);
    await queue.drain();
    await pipeline.spawnWorker({ model: MODEL });
    const { state, store } = await running;
    assert.equal(state, "succeeded");
    const { ok, totals } = await verifyOutput(store);
    assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 6, planned: 60, labeled: 60, errors: 0 } });
  });

test("Redis loses all data during a run: the run is planned again, and existing parts are adopted", async () => {
  await using pipeline = await TestPipeline.open();
  const { redis } = await queueOf(pipeline);
  await pipeline.spawnWorker({ model: MODEL });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 2000);
  const changes = await openRedis(pipeline.redis.address, "worker");
  pipeline.defer(() => changes.disconnect());
  await changes.psubscribe(`${KEY_PREFIX}:run:*:changed`);
  const committed = once(changes, "pmessage");
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 100 });
  await committed;
  await redis.flushall();
  const { state, store } = await running;
  assert.equal(state, "succeeded");
  const { ok, totals } = await verifyOutput(store);
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 20, planned: 2000, labeled: 2000, errors: 0 } });
});

test("a search for lost slices ends when Redis is lost during it", async () => {
  await using server = await TcpRedis.start();
  const redis = await openRedis({ url: server.url }, "producer");
  class DyingLedger extends RunLedger {
    override async *slices(): AsyncGenerator<SliceRecord> {
      const closed = once(redis, "close");
      await server.kill();
      await closed;
      yield { slice: 0, planned: [] };
    }
  }
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const run = "0123456789abcdef";
  const runFile = { run, spec: { model: { id, revision, digest, dtype, task } } } as RunFile;
  const planner = new Planner(redis, new DyingLedger(redis), runFile, "file:///nowhere/", {
    lane: "bulk",
    windowSlices: 1,
    retries: { attempts: 1, backoffMs: 100 },
    room: new RedisRoom(redis, 1_000, () => {}),
  });
  await assert.rejects(planner.lostSlices(new AbortController().signal), /the connection to Redis is lost/);
  await planner.close();
  redis.disconnect();
});
