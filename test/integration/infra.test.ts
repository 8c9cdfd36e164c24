import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openRedis } from "../../src/redis/connect.ts";
import { findRedisServer } from "../../src/redis/embedded/find.ts";
import { temporaryFolder } from "../helpers/runs/pipeline.ts";
import { testSearch } from "../helpers/servers/redis.ts";

const CONFIG = fileURLToPath(new URL("../../infra/redis.conf", import.meta.url));

test("labelmill accepts a server with infra/redis.conf, and the server keeps its data over a restart", async (t) => {
  const server = await findRedisServer(testSearch());
  if (server.kind !== "binary") return t.skip(`needs a Redis server as a program, found ${server.kind}`);
  await using folder = await temporaryFolder();
  const socket = join(folder.path, "s");
  const withServer = async <T>(use: (redis: Awaited<ReturnType<typeof openRedis>>) => Promise<T>): Promise<T> => {
    const [program, ...args] = [...server.command, CONFIG, "--port", "0", "--unixsocket", socket, "--dir", folder.path];
    const child = spawn(program!, args, { stdio: ["ignore", "pipe", "inherit"] });
    const ready = Promise.withResolvers<void>();
    child.stdout.on("data", (text) => /ready/i.test(String(text)) && ready.resolve());
    await Promise.race([
      ready.promise,
      once(child, "exit").then(([code]) => Promise.reject(new Error(`exit ${code}`))),
    ]);
    const redis = await openRedis({ socket }, "producer");
    try {
      return await use(redis);
    } finally {
      redis.disconnect();
      child.kill("SIGTERM");
      await once(child, "exit");
    }
  };
  await withServer((redis) => redis.set("kept", "1"));
  assert.equal(await withServer((redis) => redis.get("kept")), "1");
});
