import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { backoffMs } from "../../../src/retry/backoff.ts";
import { type Failure, type RetryOptions, retry } from "../../../src/retry/retry.ts";

const NONE = { firstMs: 0 };
const MINUTE = 60_000;

test("waits double up to their limit, or grow by the first", () => {
  const waits = (backoff: Parameters<typeof backoffMs>[1]) => [1, 2, 3, 4, 2000].map((n) => backoffMs(n, backoff));
  assert.deepEqual(waits({ firstMs: 100, maxMs: 700 }), [100, 200, 400, 700, 700]);
  assert.deepEqual(waits({ firstMs: 50, maxMs: 180, growth: "linear" }), [50, 100, 150, 180, 180]);
  assert.equal(backoffMs(3, { firstMs: 100 }), 400);
});

test("jitter takes a random share off each wait, never more", (t: TestContext) => {
  const random = t.mock.method(Math, "random", () => 0);
  assert.equal(backoffMs(2, { firstMs: 100, jitter: 0.5 }), 200);
  random.mock.mockImplementation(() => 0.999_999);
  assert.ok(Math.abs(backoffMs(2, { firstMs: 100, jitter: 0.5 }) - 100) < 0.01);
  assert.ok(backoffMs(2, { firstMs: 100, jitter: 1 }) < 0.01);
});

test("work is tried until it succeeds, and each failure is counted", async () => {
  const seen: Failure[] = [];
  let tries = 0;
  const work = async () => {
    tries += 1;
    if (tries < 4) throw new Error(`failed ${tries}`);
    return "done";
  };
  const onFailure: RetryOptions["onFailure"] = (_error, failure) => {
    seen.push(failure);
    return 0;
  };
  assert.equal(await retry(work, { tries: 4, backoff: { firstMs: 1 }, onFailure }), "done");
  assert.deepEqual(seen, [
    { failed: 1, isLast: false, waitMs: 1 },
    { failed: 2, isLast: false, waitMs: 2 },
    { failed: 3, isLast: false, waitMs: 4 },
  ]);
});

test("the last failure ends the tries", async () => {
  let tries = 0;
  const work = async () => {
    tries += 1;
    throw new Error(`failed ${tries}`);
  };
  await assert.rejects(retry(work, { tries: 3, backoff: NONE }), /failed 3/);
  assert.equal(tries, 3);
});

test("progress starts the count again", async () => {
  let tries = 0;
  const work: Parameters<typeof retry<string>>[0] = async (all) => {
    tries += 1;
    if (tries === 3) all.reset();
    throw new Error(`failed ${tries}`);
  };
  await assert.rejects(retry(work, { tries: 3, backoff: NONE }), /failed 5/);
});

test("a longer wait that the server asks for is respected", async () => {
  let tries = 0;
  const start = performance.now();
  const work = async () => {
    tries += 1;
    if (tries === 1) throw new Error("busy");
    return performance.now() - start;
  };
  const took = await retry(work, { backoff: { firstMs: 1 }, onFailure: () => 100 });
  assert.ok(took >= 99, `${took} ms`);
});

test("an abort ends the wait at once, with the caller's error", { timeout: 10_000 }, async () => {
  for (const aborted of [undefined, (reason: unknown) => new Error(`stopped: ${String(reason)}`)]) {
    const controller = new AbortController();
    const onFailure = () => {
      setImmediate(() => controller.abort("why"));
      return 0;
    };
    const fails = () => Promise.reject(new Error("failed"));
    const tried = retry(fails, { backoff: { firstMs: MINUTE }, onFailure, signal: controller.signal, aborted });
    await assert.rejects(tried, (error) => {
      if (aborted === undefined) assert.equal(error, "why");
      else assert.equal((error as Error).message, "stopped: why");
      return true;
    });
  }
});

test("after an abort nothing is tried again", async () => {
  const controller = new AbortController();
  let tries = 0;
  const work = async () => {
    tries += 1;
    controller.abort("why");
    throw new Error("failed");
  };
  await assert.rejects(retry(work, { backoff: NONE, signal: controller.signal }), (error) => error === "why");
  assert.equal(tries, 1);
});
