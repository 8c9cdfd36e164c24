import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, symlink, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openRedis } from "../../../src/redis/connect.ts";
import { findOnPath } from "../../../src/redis/embedded/binary.ts";
import { startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";
import { testSearch } from "../../helpers/servers/redis.ts";
import { isError } from "../../helpers/store-conformance.ts";

const search = testSearch();
const start = (folder: string) => startEmbeddedRedis({ ...search, data: { folder, fsync: "everysec" } });

/** Does work over a connection to a server of this folder. */
async function using<T>(
  folder: string,
  work: (redis: Awaited<ReturnType<typeof openRedis>>, pid: number) => Promise<T>,
) {
  await using server = await start(folder);
  const redis = await openRedis(server.address, "worker");
  try {
    return await work(redis, server.pid);
  } finally {
    redis.disconnect();
  }
}

test("a server with a data folder continues with its data after its end and after kill -9", async () => {
  await using folder = await temporaryFolder();
  const data = join(folder.path, "it's a state", "redis");
  await using(data, async (redis, pid) => {
    await redis.set("first", "1");
    assert.deepEqual(await redis.config("GET", "appendonly"), ["appendonly", "yes"]);
    const closed = once(redis, "close");
    process.kill(pid, "SIGKILL");
    await closed;
  });
  assert.equal((await stat(data)).mode & 0o777, 0o700);
  await using(data, async (redis) => {
    assert.equal(await redis.get("first"), "1");
    await redis.set("second", "2");
  });
  await using(data, async (redis) => assert.deepEqual(await redis.mget("first", "second"), ["1", "2"]));
});

test("an append-only file that is cut in its last entry loads, without that entry", async () => {
  await using folder = await temporaryFolder();
  await using(folder.path, async (redis) => {
    await redis.set("kept", "1");
    await redis.set("cut", "2");
  });
  const files = join(folder.path, "appendonlydir");
  const name = (await readdir(files)).find((each) => each.endsWith(".incr.aof"))!;
  const file = join(files, name);
  await truncate(file, (await readFile(file)).length - 3);
  await using(folder.path, async (redis) => assert.deepEqual(await redis.mget("kept", "cut"), ["1", null]));
});

for (const tool of ["flock", "perl"])
  test(`a second server cannot use the folder while the first one runs (locked by ${tool})`, async (context) => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, "data");
    const found = await findOnPath(tool, process.env.PATH ?? "");
    if (!found[0]) return context.skip(`this machine has no ${tool}`);
    // The shell of the server finds this tool only.
    const bin = join(folder.path, "bin");
    await mkdir(bin);
    for (const name of [tool, "rm"])
      await symlink((await findOnPath(name, process.env.PATH ?? ""))[0]!, join(bin, name));
    const path = process.env.PATH;
    context.after(() => {
      process.env.PATH = path;
    });
    process.env.PATH = bin;
    await using server = await start(data);
    await assert.rejects(start(data), isError("STATE_LOCKED", /data to be free/));
    await server.close();
    await using second = await start(data);
    assert.ok(second.pid > 0);
  });
