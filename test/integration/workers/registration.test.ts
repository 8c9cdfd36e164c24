import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { createLogger } from "../../../src/logger.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { KEY_PREFIX } from "../../../src/schemas/names.ts";
import type { OutageInfo } from "../../../src/schemas/worker.ts";
import { Registration } from "../../../src/workers/registration/registration.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

test("beats do not pile up while Redis is unreachable, and the last one has the latest state", async () => {
  await using redis = await TcpRedis.start();
  const connection = await openRedis({ url: redis.url }, "worker");
  const admin = await openRedis(redis.address, "producer");
  const registry = new WorkerRegistry(connection);
  const outages: OutageInfo[] = [];
  const registration = new Registration({
    ...{ id: "0123456789abcdef", registry, services: [], deviceReason: "a test", outages: { list: () => outages } },
    deliveries: { current: undefined },
    granted: { fileRoots: [], s3Roots: [], outputRoots: undefined },
    log: createLogger("silent", false),
  });
  try {
    await registration.sent();
    await admin.config("RESETSTAT");
    const closed = once(connection, "close");
    redis.cut();
    await closed;
    for (let i = 0; i < 50; i++) registration.beat();
    const now = new Date().toISOString();
    outages.push({ place: "s3://bucket", kind: "outage", since: now, nextTryAt: now, reason: "gone", kept: 1 });
    registration.beat();
    redis.restore();
    await registration.sent();
    const registered = await admin.get(`${KEY_PREFIX}:worker:0123456789abcdef`);
    assert.deepEqual(JSON.parse(registered!).outages, outages);
    assert.match(await admin.info("commandstats"), /cmdstat_sadd:calls=2,/);
  } finally {
    await registration.end(true);
    connection.disconnect();
    admin.disconnect();
  }
});
