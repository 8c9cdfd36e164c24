import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { planFromRunFile } from "../../../../src/producers/planning/plan-from-run-file.ts";
import { RunLedger } from "../../../../src/runs/ledger/ledger.ts";
import { openQueue } from "../../../../src/runs/queues/queue.ts";
import {
  type WebhookDelivery,
  WebhookDeliverySchema,
  webhookDeliveryId,
} from "../../../../src/schemas/enrichment/delivery.ts";
import { jobId, queueName, WEBHOOKS_QUEUE } from "../../../../src/schemas/names.ts";
import { TestPipeline, writeTexts } from "../../../helpers/runs/pipeline.ts";
import { submitSingle } from "../../../helpers/runs/singles.ts";

const MODEL = "tiny-sentiment";
const OURS = { to: "webhook", endpoint: "ours" } as const;
const URL = { to: "webhook", url: "https://example.com/hook" } as const;

/** The deliveries in the queue, when there are `count`. */
async function deliveries(pipeline: TestPipeline, count: number): Promise<WebhookDelivery[]> {
  const queue = openQueue(await pipeline.connection(), WEBHOOKS_QUEUE);
  try {
    for (;;) {
      const jobs = await queue.getWaiting();
      if (jobs.length >= count) return jobs.map(({ data }) => WebhookDeliverySchema.parse(data));
    }
  } finally {
    await queue.close();
  }
}

test("a single queues one delivery for each webhook, with its rows", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const items = [{ text: "good" }, { text: "" }];
  const { run, job, ended } = await submitSingle(pipeline, { model: MODEL, items, results: [OURS, URL] });
  const { items: rows, labels, model } = await ended;
  const found = await deliveries(pipeline, 2);
  assert.deepEqual(
    new Set(found.map(({ id }) => id)),
    new Set([webhookDeliveryId(run, OURS), webhookDeliveryId(run, URL)]),
  );
  const { target, event } = found.find(({ target }) => target.endpoint)!;
  assert.deepEqual(target, { endpoint: "ours" });
  assert.deepEqual(event.data, {
    ...{ run, state: "finished_with_errors", output: job.output, part: job.key, model },
    ...{ rows: 2, errors: 1, labels, items: rows },
  });
});

test("a single that fails, or cannot be parsed, queues its failure", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const failing = {
    model: MODEL,
    items: [{ text: "good" }],
    results: [OURS],
    output: "file:///proc/none/",
    attempts: 1,
  };
  const failed = await submitSingle(pipeline, failing);
  const { failed: reason } = await failed.ended;
  const [first] = await deliveries(pipeline, 1);
  assert.equal(first!.event.data.state, "failed");
  assert.deepEqual(first!.event.data.failed, reason);
  assert.equal(first!.event.data.part, undefined);

  const run = randomBytes(8).toString("hex");
  const queue = openQueue(await pipeline.connection(), queueName(failed.job.model, "interactive"));
  await queue.add("slice", { ...failed.job, run, topK: 0 }, { jobId: jobId(run, 0) });
  await queue.close();
  const second = (await deliveries(pipeline, 2)).find((delivery) => delivery.run === run);
  assert.equal(second!.event.data.failed!.code, "JOB_INVALID");
});

test("a planned run queues the delivery of its end, whether it succeeds, fails or is cancelled", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 30);
  const settings = { results: [OURS] };
  const submit = (out: string) =>
    pipeline.submit({ kind: "text", path, model: MODEL, out, settings }, { sliceItems: 10 });
  const ledger = new RunLedger(await pipeline.connection());
  const [good, cancelled, failed] = [await submit("good"), await submit("cancelled"), await submit("failed")];
  await ledger.cancel(cancelled.runFile.run);
  await ledger.failRun(failed.runFile.run, "STORE_FAILED: the disk is full");
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const found = new Map((await deliveries(pipeline, 3)).map((delivery) => [delivery.run, delivery]));
  const dataOf = ({ runFile }: typeof good) => found.get(runFile.run)!.event.data;
  const data = dataOf(good);
  assert.deepEqual([data.state, data.rows, data.errors, data.items], ["succeeded", 30, 0, undefined]);
  assert.equal(
    Object.values(data.labels).reduce((sum, count) => sum + count, 0),
    30,
  );
  assert.equal(data.output, good.store.uri);
  assert.equal(dataOf(cancelled).state, "cancelled");
  assert.deepEqual(dataOf(failed).failed, { code: "STORE_FAILED", message: "the disk is full" });
  assert.equal(found.get(good.runFile.run)!.id, webhookDeliveryId(good.runFile.run, OURS));
});

test("a run whose planning fails queues the delivery of its failure", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 30);
  const { runFile } = await pipeline.submit({
    kind: "text",
    path,
    model: MODEL,
    out: "out",
    settings: { results: [OURS] },
  });
  await writeTexts(path, 31);
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const [{ run, event }] = (await deliveries(pipeline, 1)) as [WebhookDelivery];
  assert.equal(run, runFile.run);
  assert.deepEqual([event.data.state, event.data.failed?.code], ["failed", "INPUT_CHANGED"]);
});
