import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connectRedis } from "../../../src/redis/connect.ts";
import { holdDuplicates } from "../../../src/redis/duplicates.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";

test("connections made of one are ended with it, and cannot be made again by whoever still has them", async () => {
  await using server = await startTestRedis();
  const redis = connectRedis(server.address, "worker");
  const end = holdDuplicates(redis);
  const made = redis.duplicate();
  made.on("error", () => {});
  await made.ping();
  const ended = once(made, "end");
  end();
  await ended;
  await assert.rejects(made.connect(), /was ended/);
  assert.equal(made.status, "end");
  redis.disconnect();
});
