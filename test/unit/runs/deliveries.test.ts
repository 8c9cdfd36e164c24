import assert from "node:assert/strict";
import { test } from "node:test";
import { deliveriesOf } from "../../../src/runs/deliveries.ts";
import { WebhookDeliverySchema, webhookDeliveryId } from "../../../src/schemas/enrichment/delivery.ts";
import type { ResultTarget } from "../../../src/schemas/enrichment/target.ts";
import type { LabelEvent } from "../../../src/schemas/event.ts";

const run = "0123456789abcdef";
const results: ResultTarget[] = [
  { to: "sidecar" },
  { to: "webhook", endpoint: "shop" },
  { to: "webhook", url: "https://example.org/" },
];
const end: LabelEvent = {
  ...{ v: 1, id: `${run}-0000000`, run, slice: 0, output: "s3://bucket/", part: `single-${run}.jsonl` },
  ...{ model: { id: "m", digest: "0".repeat(64) }, rows: 2, errors: 0, labels: { POSITIVE: 2 } },
};
const at = new Date("2026-11-29T15:00:00Z");

test("a single has one delivery for each webhook target, and none without webhooks", () => {
  const deliveries = deliveriesOf({ results }, end, at);
  for (const delivery of deliveries) WebhookDeliverySchema.parse(delivery);
  assert.deepEqual(
    deliveries.map(({ target }) => target),
    [{ endpoint: "shop" }, { url: "https://example.org/" }],
  );
  const { v: _, id: __, slice: ___, ...shared } = end;
  assert.deepEqual(deliveries[0]!.event, {
    ...{ type: "run.ended", timestamp: "2026-11-29T15:00:00.000Z" },
    data: { ...shared, state: "succeeded" },
  });
  assert.deepEqual(deliveriesOf({ results: [{ to: "tags" }] }, end), []);
  assert.deepEqual(deliveriesOf({}, end), []);
});

test("deliveries that are done are left out, and the ids of the others do not change", () => {
  const done = webhookDeliveryId(run, { endpoint: "shop" });
  const left = deliveriesOf({ results, delivered: [done] }, end);
  assert.deepEqual(
    left.map(({ id }) => id),
    [webhookDeliveryId(run, { url: "https://example.org/" })],
  );
});

test("rows that are long are left out", () => {
  const itemsOf = (length: number) => {
    const row = { id: "1", label: "POSITIVE", score: 1, labels: [{ label: "POSITIVE", score: 1 }] };
    const items = [{ ...row, input: { note: "x".repeat(length) }, source: { uri: "submitted:", record: 0 } }];
    return deliveriesOf({ results }, { ...end, items })[0]!.event.data.items?.length;
  };
  assert.equal(itemsOf(64_000), 1);
  assert.equal(itemsOf(66_000), undefined);
});

test("the state says whether rows are in error and whether the single failed", () => {
  const state = (change: Partial<LabelEvent>) => deliveriesOf({ results }, { ...end, ...change })[0]!.event.data;
  assert.equal(state({ errors: 1 }).state, "finished_with_errors");
  const failed = state({ rows: 0, labels: {}, failed: { code: "SLICE_TIMEOUT", message: "too slow" } });
  assert.equal(failed.state, "failed");
  assert.equal(failed.part, undefined);
  assert.equal(failed.failed?.code, "SLICE_TIMEOUT");
});
