import assert from "node:assert/strict";
import { test } from "node:test";
import { retryAfterMs } from "../../../src/retry/retry-after.ts";

test("Retry-After is read as seconds and as a date", () => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  assert.equal(retryAfterMs("7", now), 7000);
  assert.equal(retryAfterMs(" 0 ", now), 0);
  assert.equal(retryAfterMs("Fri, 02 Jan 2026 03:04:15 GMT", now), 10_000);
  assert.equal(retryAfterMs("Fri, 02 Jan 2026 03:04:00 GMT", now), 0);
  for (const invalid of ["soon", "", "-5", null]) assert.equal(retryAfterMs(invalid, now), 0);
});
