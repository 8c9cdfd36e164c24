import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ERROR_CODES, LabelmillError, messageOf, toLabelmillError } from "../../src/errors.ts";

test("docs/errors.md documents exactly the error codes", () => {
  const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
  const documented = new Set([...page.matchAll(/`([A-Z][A-Z_]+)`/g)].map((match) => match[1]!));
  assert.deepEqual([...documented].sort(), [...ERROR_CODES].sort());
});

test("toLabelmillError keeps a LabelmillError, and wraps any other error as its cause", () => {
  const ours = new LabelmillError("STORE_FAILED", "full");
  assert.equal(toLabelmillError(ours), ours);
  assert.equal(ours.retryable, true);
  const other = new TypeError("oops");
  const wrapped = toLabelmillError(other);
  assert.deepEqual([wrapped.code, wrapped.message, wrapped.cause], ["INTERNAL", "oops", other]);
  assert.equal(messageOf(new AggregateError([new Error("a"), new Error("b")])), "a; b");
});
