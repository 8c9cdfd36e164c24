import assert from "node:assert/strict";
import { test } from "node:test";
import { Outage } from "../../../src/storage/health/outage.ts";
import { StoreHealth } from "../../../src/storage/health/store-health.ts";
import { StoreError, type StoreTrouble } from "../../../src/storage/store-error.ts";

const QUIET_MS = 100;
const REFUSED: StoreTrouble = { kind: "refused", certain: false };

/** A store whose clock the test sets. */
function open() {
  const time = { now: 1000 };
  return { time, health: new StoreHealth(QUIET_MS, () => time.now) };
}

function outageSince(ms: number): Outage {
  const options = { cause: undefined, retryable: true, key: "a", trouble: { kind: "outage", certain: false } } as const;
  return new Outage("s3://bucket", new Date(Date.now() - ms), new StoreError("failed", options), new Set());
}

test("a key that failed more than a minute ago is no evidence about another, and its tries start again", () => {
  const { time, health } = open();
  health.failed("a", "refused");
  assert.deepEqual(health.otherFailing("b"), ["a"]);
  assert.deepEqual(health.otherFailing("a"), []);
  for (let tries = 0; tries < 3; tries += 1) health.failed("c", "outage");
  time.now += 60_000;
  assert.deepEqual(health.otherFailing("b"), []);
  health.failed("c", "outage");
  assert.deepEqual(health.otherFailing("b"), [], "one try of a minute is not three");
});

test("a failed key of an item is no evidence about other keys", () => {
  const { health } = open();
  health.requestStarted("picture", true)(REFUSED);
  assert.deepEqual(health.otherFailing("part"), []);
  health.requestStarted("input")(REFUSED);
  assert.deepEqual(health.otherFailing("part"), ["input"]);
});

test("an abandoned request is no answer: the others are still silent", () => {
  const { time, health } = open();
  health.requestStarted("a");
  const abandoned = health.requestStarted("b");
  time.now += 5000;
  abandoned("abandoned");
  assert.equal(health.silentMs, 5000);
  health.failed("c", "refused");
  health.requestStarted("c")("abandoned");
  assert.deepEqual(health.otherFailing("d"), ["c"]);
});

test("the time of trouble is counted once and never decreases", () => {
  const { time, health } = open();
  const seen: number[] = [];
  const pass = (ms: number) => {
    time.now += ms;
    seen.push(health.troubleMs);
  };
  const silent = health.requestStarted("a");
  pass(1000);
  silent("abandoned");
  pass(1000);
  assert.deepEqual(seen, [1000, 1000]);
  health.failed("a", "outage");
  // As in the log, the outage continues one that ended within the last minute.
  health.begin(outageSince(60_000));
  pass(500);
  health.requestStarted("b")("answered");
  pass(500);
  health.end("a");
  pass(1000);
  assert.deepEqual(seen, [1000, 1000, 1500, 2000, 2000]);
  health.begin(outageSince(60_000));
  pass(300);
  health.end("a");
  pass(0);
  assert.deepEqual(seen.slice(5), [2300, 2300]);
});
