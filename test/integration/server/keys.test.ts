import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "../../../src/logger.ts";
import { KeyCache } from "../../../src/server/keys/key-cache.ts";
import { KeyRing } from "../../../src/server/keys/key-ring.ts";
import { KeyStore } from "../../../src/server/keys/key-store.ts";
import { openStore } from "../../../src/storage/open.ts";
import { TestApi } from "../../helpers/servers/api.ts";

async function expectProblem(response: Response, status: number, code: string): Promise<void> {
  assert.equal(response.status, status);
  assert.match(response.headers.get("content-type")!, /^application\/problem\+json/);
  const body = (await response.json()) as Record<string, unknown>;
  assert.deepEqual(Object.keys(body), ["type", "title", "status", "detail", "code"]);
  assert.deepEqual([body.status, body.code], [status, code]);
}

test("beyond loopback, every path needs a key, also one without a route", async () => {
  await using api = await TestApi.open({ worker: false, settings: { host: "0.0.0.0" } });
  for (const path of ["/v1/models", "/v1/workers", "/openapi.json", "/", "/no/such/path", "/v1/models?key=lm_x"]) {
    const response = await api.fetch(path, {
      headers: { "x-forwarded-for": "127.0.0.1", "x-forwarded-host": "localhost" },
    });
    assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="labelmill"');
    await expectProblem(response, 401, "UNAUTHORIZED");
  }
  await expectProblem(await api.post("/v1/models", {}), 401, "UNAUTHORIZED");
});

test("a key on record is required and works, also for paths without a route", async () => {
  await using api = await TestApi.open({ worker: false, keys: { reader: ["read"] } });
  await expectProblem(await api.fetch("/v1/models"), 401, "UNAUTHORIZED");
  assert.equal((await api.fetch("/v1/models", { headers: api.as("reader") })).status, 200);
  assert.equal((await api.fetch("/openapi.json", { headers: api.as("reader") })).status, 200);
  await expectProblem(await api.fetch("/no/such/path", { headers: api.as("reader") }), 404, "ROUTE_NOT_FOUND");
  const post = await api.fetch("/v1/models", { method: "POST", headers: api.as("reader") });
  assert.equal(post.headers.get("allow"), "GET, HEAD");
  await expectProblem(post, 405, "METHOD_NOT_ALLOWED");
});

test("a web page of another site is refused where no key is needed", async () => {
  await using api = await TestApi.open({ worker: false });
  await expectProblem(
    await api.fetch("/v1/models", { headers: { origin: "http://attacker.example" } }),
    403,
    "FORBIDDEN",
  );
  assert.equal((await api.fetch("/v1/models", { headers: { origin: api.url } })).status, 200);
});

test("servers share the keys through Redis, and read them again when a command has removed the copy", async () => {
  await using api = await TestApi.open({ worker: false, keys: { a: ["submit"] } });
  const { redis, state } = api.deps;
  const { key, record } = api.keys.get("a")!;
  const cache = new KeyCache(redis, state.uri);
  const copy = (await cache.read())!;
  assert.deepEqual(copy, { hasRecords: true, keys: [record] });
  assert.ok(!JSON.stringify(copy).includes(key));
  const log = createLogger("silent", false);
  // Opened from the copy alone: the folder has no keys.
  const elsewhere = new KeyStore(await openStore(api.pipeline.output("empty")));
  const ring = await KeyRing.open({ store: elsewhere, cache, log });
  assert.equal((await ring.find(key))?.owner, record.id);
  ring.close();
  await KeyStore.revoke(state, record.id);
  await cache.clear();
  const next = await KeyRing.open({ store: new KeyStore(state), cache, log });
  assert.equal(await next.find(key), undefined);
  next.close();
  assert.ok((await redis.pttl((await redis.keys("*:keys:*"))[0]!)) <= 10_000);
});
