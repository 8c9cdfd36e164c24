import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { WEBHOOK_TRIES, WebhookQueue } from "../../../src/runs/queues/webhook-queue.ts";
import {
  WebhookDeliverySchema,
  type WebhookEvent,
  webhookDelivery,
  webhookDeliveryId,
} from "../../../src/schemas/enrichment/delivery.ts";
import { WEBHOOKS_QUEUE } from "../../../src/schemas/names.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";

function eventOf(run: string): WebhookEvent {
  return {
    type: "run.ended",
    timestamp: new Date().toISOString(),
    data: {
      ...{ run, state: "succeeded", output: "s3://bucket/", part: `single-${run}.jsonl` },
      ...{ model: { id: "m", digest: "0".repeat(64) }, rows: 1, errors: 0, labels: { A: 1 } },
    },
  };
}

test("a delivery that is added twice is in the queue once, and two targets of a run are two deliveries", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const run = randomBytes(8).toString("hex");
  const named = webhookDelivery(eventOf(run), { to: "webhook", endpoint: "ours" });
  const free = webhookDelivery(eventOf(run), { to: "webhook", url: "https://example.com/hook" });
  const webhooks = new WebhookQueue(redis);
  for (const delivery of [named, free, named]) await webhooks.add(delivery);
  await webhooks.close();

  const queue = openQueue(redis, WEBHOOKS_QUEUE);
  const jobs = await queue.getWaiting();
  await queue.close();
  assert.deepEqual(new Set(jobs.map(({ id }) => id)), new Set([named.id, free.id]));
  for (const job of jobs) assert.equal(job.opts.attempts, WEBHOOK_TRIES);
  const [read] = jobs.map(({ data }) => WebhookDeliverySchema.parse(data)).filter(({ id }) => id === named.id);
  assert.deepEqual(read, named);
});

test("the id of a delivery depends on the run and the target alone", () => {
  const run = "0123456789abcdef";
  const ids = [
    webhookDeliveryId(run, { endpoint: "https://a.example/" }),
    webhookDeliveryId(run, { url: "https://a.example/" }),
    webhookDeliveryId("fedcba9876543210", { url: "https://a.example/" }),
  ];
  assert.equal(new Set(ids).size, 3);
  assert.deepEqual(ids[1], webhookDelivery(eventOf(run), { to: "webhook", url: "https://a.example/" }).id);
  for (const id of ids) assert.match(id, /^msg_[0-9a-f]{32}$/);
});
