import assert from "node:assert/strict";
import { test } from "node:test";
import { ERROR_CODES, LabelmillError } from "../../../src/errors.ts";
import { answerOf, Problem, ProblemSchema } from "../../../src/server/problems.ts";

test("every error code has a status, and a retryable status has Retry-After", () => {
  for (const code of ERROR_CODES) {
    const { status, headers, body } = answerOf(new LabelmillError(code, "why"));
    assert.ok(status >= 400 && status <= 599, code);
    assert.deepEqual(ProblemSchema.parse(body), body);
    assert.equal(body.code, code);
    assert.equal("retry-after" in headers, status === 503, code);
  }
});

test("a problem has its own status and headers, and an unexpected error no message", () => {
  const problem = answerOf(new Problem(429, "RATE_LIMITED", "too many", { "retry-after": "7" }));
  assert.deepEqual(
    [problem.status, problem.headers, problem.body.title],
    [429, { "retry-after": "7" }, "Too Many Requests"],
  );
  const content = "a secret text";
  for (const error of [
    new Error(content),
    new LabelmillError("INTERNAL", content),
    content,
    undefined,
    { message: content },
  ]) {
    const { status, body } = answerOf(error);
    assert.deepEqual([status, body.code], [500, "INTERNAL"]);
    assert.ok(!JSON.stringify(body).includes(content));
  }
});

test("an error reply of a Redis that takes no writes at present is 503", () => {
  const reply = (message: string) => Object.assign(new Error(message), { name: "ReplyError" });
  for (const [message, code] of [
    ["OOM command not allowed when used memory > 'maxmemory'.", "REDIS_FULL"],
    ["LOADING Redis is loading the dataset in memory", "REDIS_UNREACHABLE"],
    ["MISCONF Errors writing to the AOF file: No space left on device", "REDIS_UNREACHABLE"],
    ["READONLY You can't write against a read only replica.", "REDIS_UNREACHABLE"],
  ]) {
    const { status, body } = answerOf(reply(message!));
    assert.deepEqual([status, body.code], [503, code]);
  }
  assert.equal(answerOf(reply("WRONGTYPE Operation against a key")).status, 500);
});

test("an unexpected error with a status keeps it, without its message", () => {
  const content = "a secret text";
  for (const [statusCode, status, code] of [
    [413, 413, "BODY_TOO_LARGE"],
    [406, 415, "CONTENT_TYPE"],
    [415, 415, "CONTENT_TYPE"],
    [414, 414, "REQUEST_INVALID"],
    [500, 500, "INTERNAL"],
  ]) {
    const { body, ...answer } = answerOf(Object.assign(new Error(content), { statusCode }));
    assert.deepEqual([answer.status, body.code], [status, code]);
    assert.ok(!body.detail.includes(content));
  }
});
