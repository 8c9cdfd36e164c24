import assert from "node:assert/strict";
import { test } from "node:test";
import { TestApi } from "../../helpers/servers/api.ts";

test("each key has its own rate, counted in Redis, and gets 429 with Retry-After above it", async () => {
  await using api = await TestApi.open({
    worker: false,
    keys: { a: ["read"], b: ["read"] },
    settings: { rateLimit: 3 },
  });
  const statusOf = async (name: string) => (await api.fetch("/v1/models", { headers: api.as(name) })).status;
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) statuses.push(await statusOf("a"));
  assert.deepEqual(statuses, [200, 200, 200, 429]);
  assert.equal(await statusOf("b"), 200);
  const refused = await api.fetch("/v1/models", { headers: api.as("a") });
  assert.equal(((await refused.json()) as { code: string }).code, "RATE_LIMITED");
  const wait = Number(refused.headers.get("retry-after"));
  assert.ok(wait >= 1 && wait <= 60, String(wait));
  const keys = await api.deps.redis.keys("*:rate:*");
  assert.equal(keys.length, 2);
  assert.ok(!keys.join().includes(api.keys.get("a")!.key));
});

test("a request without a valid key uses no rate of a key", async () => {
  await using api = await TestApi.open({ worker: false, keys: { a: ["read"] }, settings: { rateLimit: 1 } });
  const { key } = api.keys.get("a")!;
  for (let i = 0; i < 3; i++)
    assert.equal((await api.fetch("/v1/models", { headers: { "x-api-key": `${key.slice(0, -1)}_` } })).status, 401);
  assert.equal((await api.fetch("/v1/models", { headers: api.as("a") })).status, 200);
});
