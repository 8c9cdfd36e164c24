import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePrefer } from "../../../src/server/label/prefer.ts";

const wait = (header: string | string[] | undefined) => parsePrefer(header).waitSeconds;

test("Prefer: wait is read as RFC 7240 describes it", () => {
  assert.deepEqual(parsePrefer("wait=5"), { waitSeconds: 5, applied: "wait=5" });
  assert.deepEqual(parsePrefer(undefined), { waitSeconds: 0 });
  for (const header of ["Wait=5", " wait = 5 ", 'wait="5"', "respond-async, wait=5", "wait=5; strict", "a=b, wait=5"])
    assert.equal(wait(header), 5, header);
  assert.equal(wait(["respond-async", "wait=7"]), 7, "several headers are one list");
  assert.equal(wait("wait=5, wait=9"), 5, "the first one counts");
  assert.equal(wait('note="x, wait=9"; foo="\\"", wait=3'), 3, "a quoted text is no list");
});

test("a wait is bounded, and an invalid one is ignored", () => {
  assert.deepEqual(parsePrefer("wait=9999"), { waitSeconds: 60, applied: "wait=60" });
  for (const header of ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", "wait=0", "wait=99999999999", "", ",;=,"])
    assert.deepEqual(parsePrefer(header), { waitSeconds: 0 }, header);
});
