import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Patience } from "../../../src/server/huggingface/patience.ts";

const never = () => new AbortController().signal;

/** The error with which the patience ends. */
async function endOf({ signal }: Patience): Promise<{ status?: number; code: string; message: string }> {
  if (!signal.aborted) await once(signal, "abort");
  return signal.reason;
}

test("a caller that waited long enough gets 503 with the time", async () => {
  using patience = new Patience({ waitMs: 100, graceMs: 0, left: never(), stopping: never(), what: "labels of m" });
  const { status, code, message } = await endOf(patience);
  assert.deepEqual([status, code], [503, "WAIT_EXCEEDED"]);
  assert.equal(message, "expected labels of m within 0.1 s: send the request again later");
});

test("the grace period of a stopping server ends a longer wait, and never prolongs a shorter one", async () => {
  const stopping = new AbortController();
  using long = new Patience({ waitMs: 3_600_000, graceMs: 1, left: never(), stopping: stopping.signal, what: "" });
  using short = new Patience({ waitMs: 1, graceMs: 3_600_000, left: never(), stopping: stopping.signal, what: "" });
  stopping.abort();
  using later = new Patience({ waitMs: 3_600_000, graceMs: 1, left: never(), stopping: stopping.signal, what: "" });
  for (const patience of [long, short, later]) assert.equal((await endOf(patience)).code, "STOPPING");
});

test("a caller that closes the connection ends the wait at once", async () => {
  const left = new AbortController();
  using patience = new Patience({ waitMs: 3_600_000, graceMs: 0, left: left.signal, stopping: never(), what: "" });
  left.abort();
  assert.equal((await endOf(patience)).code, "ABORTED");
  using after = new Patience({ waitMs: 3_600_000, graceMs: 0, left: left.signal, stopping: never(), what: "" });
  assert.equal(after.signal.aborted, true);
});

test("a disposed patience keeps no listener and no timer", () => {
  const [left, stopping] = [new AbortController(), new AbortController()];
  const patience = new Patience({
    waitMs: 3_600_000,
    graceMs: 0,
    left: left.signal,
    stopping: stopping.signal,
    what: "",
  });
  patience[Symbol.dispose]();
  left.abort();
  stopping.abort();
  assert.equal(patience.signal.aborted, false);
});
