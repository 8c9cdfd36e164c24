import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { AofConfirmation } from "../../../src/redis/aof.ts";
import { readInfo } from "../../../src/redis/check-server.ts";
import { openRedis, type RedisAddress } from "../../../src/redis/connect.ts";
import { startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";
import { startTestRedis, testSearch } from "../../helpers/servers/redis.ts";
import { isError } from "../../helpers/store-conformance.ts";

const KEY = "confirmed";

async function connection(address: RedisAddress, context: TestContext) {
  const redis = await openRedis(address, "worker");
  context.after(() => redis.disconnect());
  return redis;
}

async function hasWaitaof(redis: Awaited<ReturnType<typeof connection>>): Promise<boolean> {
  const [major = 0, minor = 0] = ((await readInfo(redis)).get("redis_version") ?? "").split(".").map(Number);
  return major > 7 || (major === 7 && minor >= 2);
}

test("a server without an append-only file is refused", async () => {
  await using server = await startTestRedis();
  await assert.rejects(
    AofConfirmation.open(server.address, KEY),
    isError("REDIS_UNFIT", /appendonly no.*--accept store/),
  );
});

test("a server older than 7.2 confirms by its replies only with appendfsync always, also while it rewrites", async (context) => {
  await using folder = await temporaryFolder();
  const data = { folder: join(folder.path, "data"), fsync: "always" as const };
  await using server = await startEmbeddedRedis({ ...testSearch(), data });
  const redis = await connection(server.address, context);
  if (await hasWaitaof(redis)) return context.skip("this server has WAITAOF");
  const confirmation = await AofConfirmation.open(server.address, KEY);
  context.after(() => confirmation.close());
  await confirmation.confirm();
  await redis.config("SET", "no-appendfsync-on-rewrite", "yes");
  await assert.rejects(AofConfirmation.open(server.address, KEY), isError("REDIS_UNFIT", /on-rewrite yes/));
  await redis.config("SET", "appendfsync", "everysec");
  await assert.rejects(AofConfirmation.open(server.address, KEY), isError("REDIS_UNFIT", /appendfsync everysec/));
});

test("a server that forbids WAITAOF, INFO and CONFIG is refused", async (context) => {
  await using folder = await temporaryFolder();
  const data = { folder: join(folder.path, "data"), fsync: "always" as const };
  await using server = await startEmbeddedRedis({ ...testSearch(), data });
  const redis = await connection(server.address, context);
  await redis
    .call("ACL", "SETUSER", "default", "-info", "-config", "-waitaof")
    .catch(() => redis.call("ACL", "SETUSER", "default", "-info", "-config"));
  await assert.rejects(
    AofConfirmation.open(server.address, KEY),
    isError("REDIS_UNFIT", /forbids CONFIG GET and INFO/),
  );
});

test("a server from 7.2 on confirms writes of other connections, many with one command", async (context) => {
  await using folder = await temporaryFolder();
  const data = { folder: join(folder.path, "data"), fsync: "everysec" as const };
  await using server = await startEmbeddedRedis({ ...testSearch(), data });
  const redis = await connection(server.address, context);
  if (!(await hasWaitaof(redis))) return context.skip("the Redis server of this machine is older than 7.2");
  const confirmation = await AofConfirmation.open(server.address, KEY);
  context.after(() => confirmation.close());
  await redis.config("RESETSTAT");
  const one = async (i: number) => {
    await redis.set(`key-${i}`, "1");
    await confirmation.confirm();
  };
  await Promise.all(Array.from({ length: 200 }, (_, i) => one(i)));
  const calls = /cmdstat_waitaof:calls=(\d+)/.exec(await redis.info("commandstats"))?.[1];
  assert.ok(Number(calls) <= 3, `WAITAOF was called ${calls} times`);
  const closed = once(redis, "close");
  const waiting = assert.rejects(confirmation.confirm(), isError("ACCEPT_UNCONFIRMED"));
  process.kill(server.pid, "SIGKILL");
  await Promise.all([closed, waiting]);
});
