import assert from "node:assert/strict";
import { test } from "node:test";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { RedisRoom } from "../../../src/producers/planning/redis-room.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { isError } from "../../helpers/store-conformance.ts";

const never = new AbortController().signal;

async function pinned() {
  const { id, revision, digest, dtype, task } = await loadBuiltIn("tiny-sentiment");
  return { model: id, pin: { id, revision, digest, dtype, task } };
}

test("a submission to a Redis that is out of memory fails with REDIS_FULL after the maximum wait, and queues nothing", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const producer = await pipeline.producer({ fullMs: 500, sliceItems: 10 });
  await redis.config("SET", "maxmemory", "1");
  const single = producer.submit({ ...(await pinned()), texts: ["good"] });
  await assert.rejects(single, isError("REDIS_FULL", /out of memory for 1 s.*maxmemory/));
  const run = await producer.submit({ ...(await pinned()), texts: new Array(30).fill("good") });
  await assert.rejects(run.wait(), isError("REDIS_FULL"));
  assert.deepEqual(await redis.keys("*"), [], "nothing was written");
});

test("a waiting write is done when there is room again", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const lines: string[] = [];
  const waiting = Promise.withResolvers<void>();
  const room = new RedisRoom(redis, 60_000, (line) => {
    lines.push(line);
    waiting.resolve();
  });
  await redis.config("SET", "maxmemory", "1");
  const write = room.take(() => redis.multi().set("a", 1).set("b", 2).exec(), never);
  await waiting.promise;
  await redis.config("SET", "maxmemory", "0");
  await write;
  assert.deepEqual(lines, ["Redis is out of memory: waiting for room"]);
  assert.deepEqual(await redis.mget("a", "b"), ["1", "2"]);
});

test("another error than a lack of memory is thrown immediately, and so is an interrupt", async () => {
  await using pipeline = await TestPipeline.open();
  const room = new RedisRoom(await pipeline.connection(), 60_000, () => {});
  await assert.rejects(
    room.take(() => Promise.reject(new Error("ERR no such thing")), never),
    /no such thing/,
  );
  const stop = new AbortController();
  const full = () => {
    stop.abort(new Error("stopped"));
    return Promise.reject(new Error("OOM command not allowed when used memory > 'maxmemory'."));
  };
  await assert.rejects(room.take(full, stop.signal), /stopped/);
});

test("a running write fails immediately when the connection is lost, and so does a new one", async () => {
  await using pipeline = await TestPipeline.open();
  const room = new RedisRoom(await pipeline.connection(), 60_000, () => {});
  // Like BullMQ, which waits until the connection is back.
  const waiting = assert.rejects(
    room.take(() => new Promise(() => {}), never),
    /connection to Redis is lost/,
  );
  await pipeline.redis.kill();
  await waiting;
  await assert.rejects(
    room.take(() => new Promise(() => {}), never),
    /connection to Redis is lost/,
  );
});
