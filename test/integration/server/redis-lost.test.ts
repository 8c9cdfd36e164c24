import assert from "node:assert/strict";
import { test } from "node:test";
import { TestApi } from "../../helpers/servers/api.ts";

/** Sends requests until one has this status. */
async function until(api: TestApi, status: number): Promise<Response> {
  for (;;) {
    const response = await api.fetch("/v1/models", { signal: AbortSignal.timeout(10_000) });
    if (response.status === status) return response;
    await response.arrayBuffer();
  }
}

test("while Redis is lost, requests get 503 with Retry-After, and then work again", async () => {
  await using api = await TestApi.open({ worker: false });
  assert.equal((await api.fetch("/v1/models")).status, 200);
  api.pipeline.redis.cut();
  const response = await until(api, 503);
  assert.equal(response.headers.get("retry-after"), "5");
  assert.equal(((await response.json()) as { code: string }).code, "REDIS_UNREACHABLE");
  api.pipeline.redis.restore();
  await until(api, 200);
});

test("a Redis that takes commands and does not answer gets 503, also for requests that wait already", async () => {
  await using api = await TestApi.open({ worker: false });
  api.pipeline.redis.signal("SIGSTOP");
  try {
    const statuses = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const response = await api.fetch("/v1/models", { signal: AbortSignal.timeout(30_000) });
        return [response.status, response.headers.get("content-type")];
      }),
    );
    assert.deepEqual(statuses, Array(10).fill([503, "application/problem+json; charset=utf-8"]));
  } finally {
    api.pipeline.redis.signal("SIGCONT");
  }
  await until(api, 200);
});

test("keys are found while Redis is lost, and a wrong one gets 401", async () => {
  await using api = await TestApi.open({ worker: false, keys: { a: ["read"] } });
  api.pipeline.redis.cut();
  const wrong = await api.fetch("/v1/models", { headers: { "x-api-key": "lm_00000000_wrong" } });
  assert.equal(wrong.status, 401);
  const right = await api.fetch("/v1/models", { headers: api.as("a") });
  assert.equal(right.status, 503);
});

test("a process that is busy for longer than Redis may take does not take Redis for lost", async () => {
  await using api = await TestApi.open({ worker: false });
  const { redisWatch } = api.deps;
  let lost = 0;
  redisWatch.onceLost(() => {
    lost += 1;
  });
  const asked = redisWatch.ask();
  const until = performance.now() + 2_500;
  while (performance.now() < until);
  assert.equal(await asked, true);
  assert.equal(lost, 0);
});
