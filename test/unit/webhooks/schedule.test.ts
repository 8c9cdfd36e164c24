import assert from "node:assert/strict";
import { test } from "node:test";
import { WEBHOOK_TRIES } from "../../../src/runs/queues/webhook-queue.ts";
import { MAX_RETRY_AFTER_MS, RETRY_JITTER, RETRY_WAITS_MS, retryWaitMs } from "../../../src/webhooks/schedule.ts";

const HOUR = 3_600_000;

test("eight tries take about a day, and each wait is longer than the one before", () => {
  assert.equal(RETRY_WAITS_MS.length + 1, WEBHOOK_TRIES);
  const total = RETRY_WAITS_MS.reduce((sum, wait) => sum + wait, 0);
  assert.equal(total, 24 * HOUR + 11 * 60_000 + 5_000);
  assert.deepEqual(
    RETRY_WAITS_MS,
    RETRY_WAITS_MS.toSorted((a, b) => a - b),
  );
  assert.ok(total * (1 + RETRY_JITTER) < 27 * HOUR);
});

test("the jitter makes a wait up to a tenth shorter or longer", () => {
  const [first] = RETRY_WAITS_MS;
  assert.equal(retryWaitMs(1, 0, RETRY_WAITS_MS, 0), first! * 0.9);
  assert.equal(retryWaitMs(1, 0, RETRY_WAITS_MS, 0.5), first);
  assert.equal(retryWaitMs(1, 0, RETRY_WAITS_MS, 1), first! * 1.1);
  const waits = new Set(Array.from({ length: 20 }, () => retryWaitMs(3, 0)));
  assert.ok(waits.size > 1);
});

test("no wait follows the last try", () => {
  assert.equal(retryWaitMs(7, 0) === undefined, false);
  assert.equal(retryWaitMs(8, 0), undefined);
  assert.equal(retryWaitMs(8, 1000), undefined);
});

test("a Retry-After makes a wait longer, at most an hour, and never shorter", () => {
  const at = (failed: number, retryAfterMs: number) => retryWaitMs(failed, retryAfterMs, RETRY_WAITS_MS, 0.5);
  assert.equal(at(1, 30_000), 30_000);
  assert.equal(at(1, 1_000), 5_000);
  assert.equal(at(1, 365 * 24 * HOUR), MAX_RETRY_AFTER_MS);
  assert.equal(at(7, 60_000), 12 * HOUR);
});
