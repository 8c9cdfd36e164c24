import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { LabelmillError, messageOf, withoutArguments } from "../../src/errors.ts";
import { createLogger, type Logger } from "../../src/logger.ts";

const SECRET = "a text that must stay secret";

/** An error reply as ioredis makes it. */
function replyError(): Error {
  const error = new Error(`ERR unknown command 'x', with args beginning with: '${SECRET}' `);
  return Object.assign(error, { name: "ReplyError", command: { name: "evalsha", args: [SECRET, 7] } });
}

async function logged(work: (log: Logger) => void): Promise<string> {
  const lines = new PassThrough();
  work(createLogger("debug", false, lines));
  lines.end();
  return text(lines);
}

test("the arguments of a Redis command never reach the log, however its error is logged", async () => {
  const cases: Record<string, (log: Logger) => void> = {
    err: (log) => log.warn({ err: replyError() }, "failed"),
    alone: (log) => log.warn(replyError()),
    "under another name": (log) => log.warn({ reason: replyError() }, "failed"),
    "of a child": (log) => log.child({ err: replyError() }).warn("failed"),
    cause: (log) => log.warn({ err: new TypeError("wrong", { cause: replyError() }) }, "failed"),
    "cause of ours": (log) => log.warn({ err: new LabelmillError("INTERNAL", "wrong", { cause: replyError() }) }, "f"),
    message: (log) => log.warn(messageOf(replyError())),
  };
  for (const [name, work] of Object.entries(cases)) {
    const line = await logged(work);
    assert.match(line, /"level":40/, name);
    assert.doesNotMatch(line, new RegExp(SECRET), name);
    assert.doesNotMatch(line, /"args"/, name);
  }
});

test("the log has the type, code, message and causes of an error, and a stack only for unexpected errors", async () => {
  const err = async (error: Error) => JSON.parse(await logged((log) => log.error({ err: error }, "failed"))).err;
  const system = Object.assign(new Error("connect ECONNREFUSED"), {
    code: "ECONNREFUSED",
    request: { secret: SECRET },
  });
  assert.deepEqual(await err(system), { type: "Error", code: "ECONNREFUSED", message: "connect ECONNREFUSED" });
  const ours = new LabelmillError("STORE_FAILED", "no room", { cause: system });
  assert.deepEqual(await err(ours), {
    type: "LabelmillError",
    code: "STORE_FAILED",
    message: "no room",
    cause: { type: "Error", code: "ECONNREFUSED", message: "connect ECONNREFUSED" },
  });
  assert.match((await err(new TypeError("x is not a function"))).stack, /logger\.test\.ts/);
  assert.match((await err(new LabelmillError("INTERNAL", "a mistake"))).stack, /logger\.test\.ts/);
});

test("a LabelmillError removes the arguments of a command from its cause", () => {
  const { cause } = new LabelmillError("REDIS_UNREACHABLE", "lost", { cause: replyError() });
  assert.deepEqual((cause as { command?: unknown }).command, { name: "evalsha" });
  assert.doesNotMatch(`${(cause as Error).message}${(cause as Error).stack}`, new RegExp(SECRET));
  assert.equal(withoutArguments("a string"), "a string");
});
