import assert from "node:assert/strict";
import { test } from "node:test";
import { freePort } from "../../../src/redis/embedded/launch.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

/** Asks until the answer has this status. */
async function until(url: string, status: number): Promise<string> {
  for (;;) {
    const response = await fetch(url);
    const text = await response.text();
    if (response.status === status) return text;
  }
}

test("a worker is ready while it is registered, and live all the time", async () => {
  await using redis = await TcpRedis.start();
  await using work = await Workspace.open();
  const port = String(await freePort());
  const worker = work.start(["worker", "--models", "tiny-sentiment", "--health-port", port], {
    env: { REDIS_URL: redis.url },
  });
  await worker.says("Serving");
  const url = `http://127.0.0.1:${port}/health`;
  await until(`${url}/ready`, 200);
  redis.cut();
  assert.equal(await until(`${url}/ready`, 503), '{"status":"no connection to Redis"}');
  assert.equal((await fetch(`${url}/live`)).status, 200);
  redis.restore();
  await until(`${url}/ready`, 200);
  worker.child.kill("SIGTERM");
  assert.equal((await worker.ended).code, 0);
  await assert.rejects(fetch(`${url}/live`));
});
