import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connectRedis } from "../../../src/redis/connect.ts";
import { trackDuplicates } from "../../../src/redis/duplicates.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";

test("duplicates of a connection are ended with it, and their owner cannot connect them again", async () => {
  await using server = await startTestRedis();
  const redis = connectRedis(server.address, "worker");
  const end = trackDuplicates(redis);
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
