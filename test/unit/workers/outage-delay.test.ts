import assert from "node:assert/strict";
import { test } from "node:test";
import { Outage } from "../../../src/storage/health/outage.ts";
import { StoreError, type StoreTrouble } from "../../../src/storage/store-error.ts";
import { judgeFailure } from "../../../src/workers/outages/outage-delay.ts";

function outageOf(kind: StoreTrouble["kind"], givenUp: boolean): Outage {
  const options = { cause: undefined, retryable: true, key: "part-0", trouble: { kind, certain: false } };
  const outage = new Outage("s3://bucket", new Date(), new StoreError("failed", options), new Set());
  outage.givenUp = givenUp;
  return outage;
}

/** Stores whose judgement changes with each call, as if another slice failed in between. */
function judges(...outages: (Outage | undefined)[]) {
  const answers = outages.values();
  return { outageOf: async () => answers.next().value };
}

test("a failure is judged once: an outage that begins a moment later does not end the run", async () => {
  const begins = judges(undefined, outageOf("refused", false));
  assert.deepEqual(await judgeFailure(new Error("403"), "s3://bucket/out/", begins), {});
});

test("a store that refuses fails its runs only after the time to fix it; an unavailable store never does", async () => {
  const of = (kind: StoreTrouble["kind"], givenUp: boolean) =>
    judgeFailure(new Error("403"), "s3://bucket/out/", judges(outageOf(kind, givenUp)));
  assert.deepEqual(Object.keys(await of("refused", false)), ["delayMs"]);
  assert.deepEqual(Object.keys(await of("outage", false)), ["delayMs"]);
  assert.deepEqual(await of("refused", true), { refused: true });
  assert.deepEqual(await of("outage", true), {});
});
