import assert from "node:assert/strict";
import { test } from "node:test";
import { LogThrottle } from "../../../src/runs/queues/log-throttle.ts";

test("a kind is logged at once, then again after the interval, with the number of events since", () => {
  const said: string[] = [];
  const lines = new LogThrottle(Number.MAX_VALUE);
  for (const kind of ["a", "b", "a", "a", "b"]) lines.log(kind, 2, (count) => said.push(`${kind} ${count}`));
  assert.deepEqual(said, ["a 2", "b 2"]);
  const restless = new LogThrottle(0);
  for (const count of [1, 5]) restless.log("a", count, (all) => said.push(`again ${all}`));
  assert.deepEqual(said.slice(2), ["again 1", "again 5"]);
});

test("kinds beyond the maximum are counted as one kind", () => {
  let said = 0;
  const lines = new LogThrottle(Number.MAX_VALUE);
  for (let i = 0; i < 1_000; i++) lines.log(`kind ${i}`, 1, () => said++);
  assert.equal(said, 101);
});
