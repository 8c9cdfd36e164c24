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

test("items are refused with 429 while more work waits than the limit, and nothing is stored or queued", async () => {
  // A rate that is not measured counts as 10 items a second.
  await using api = await TestApi.open({
    worker: false,
    models: ["tiny-sentiment", "tiny-image"],
    settings: { maxBacklogSeconds: 5 },
  });
  const texts = Array.from({ length: 100 }, (_, i) => `text ${i}`);
  assert.equal((await api.post("/v1/label/text", { items: texts })).status, 202);
  const model = api.deps.models.find("tiny-sentiment")!.pin;
  while ((await api.deps.backlog.seconds(model)) !== 10);
  const refused = [
    await api.post("/v1/label/text", { items: ["one more"] }),
    await api.post("/v1/label/text", { items: ["one more"] }, { prefer: "wait=1" }),
    await api.post("/models/tiny-sentiment", { inputs: "one more" }),
  ];
  for (const response of refused) {
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("retry-after"), "5");
    assert.equal(((await response.json()) as { code: string }).code, "BACKLOG_FULL");
  }
  // Other models are not affected.
  const image = "https://images.invalid/a.jpg";
  assert.equal((await api.post("/v1/label/images", { items: [image] })).status, 202);
  const { runs } = await api.deps.runIndex.list({ limit: 10 });
  assert.equal(runs.length, 2);
});
