import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { readManifest } from "../../../src/outputs/output.ts";
import type { Journal } from "../../../src/producers/accept/journal.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { type WebhookEvent, webhookDeliveryId } from "../../../src/schemas/enrichment/delivery.ts";
import { collected, MODEL, openAccepting } from "../../helpers/runs/accepting.ts";
import { FAST, writeTexts } from "../../helpers/runs/pipeline.ts";
import { endOfRun, TestWebhooks } from "../../helpers/runs/test-webhooks.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

/** Waits until a record has this many deliveries that are done, or does not exist (undefined). */
async function untilDelivered(journal: Journal, run: string, count: number | undefined): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const record = await journal.read(run);
    if (count === undefined ? record === undefined : record?.delivered?.length === count) return;
    if (performance.now() > deadline) throw new Error(`got ${JSON.stringify(record?.delivered)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("a delivery that Redis lost is sent after the replay, and one that is done is not sent again", async () => {
  await using webhooks = await TestWebhooks.open();
  const { pipeline } = webhooks;
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  await using good = await WebhookReceiver.start();
  let status = 500;
  await using slow = await WebhookReceiver.start((response) => response.writeHead(status).end());
  await webhooks.start({ waitsMs: [3_600_000], settle: (run, id) => accepter.settleDelivery(run, id) });
  await pipeline.worker({ threads: 1 });

  const results = [good, slow].map(({ url }) => ({ to: "webhook" as const, url }));
  const submission = { model: MODEL, texts: ["good"], results };
  const { run } = await accepter.accept({ submission, owner: "key1" });
  await slow.until(1);
  await untilDelivered(journal, run, 1);
  assert.deepEqual((await journal.read(run))?.delivered, [webhookDeliveryId(run, { url: good.url })]);

  await webhooks.redis.flushall();
  status = 200;
  await accepter.replay(new AbortController().signal);
  await slow.until(2);
  await untilDelivered(journal, run, undefined);
  const id = webhookDeliveryId(run, { url: slow.url });
  assert.deepEqual(slow.ids(), [id, id]);
  assert.equal(good.received.length, 1);
  const { data } = verified(slow.received[1]!, webhooks.secret) as { data: { run: string; state: string } };
  assert.deepEqual([data.run, data.state], [run, "succeeded"]);
});

test("a sidecar whose job Redis lost after its part was written is written after the replay", async () => {
  await using webhooks = await TestWebhooks.open();
  const { pipeline } = webhooks;
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  const settings = { ...FAST, outputRoots: [pipeline.folder] };
  const path = join(pipeline.folder, "x.txt");
  await writeFile(path, "a great day");
  const kills = [{ step: "undelivered" as const, slice: 0, times: 1 }];
  const killed = await pipeline.spawnWorker({ model: MODEL, settings, kills });
  const died = once(killed, "exit");
  const submission = {
    model: MODEL,
    texts: [{ textFile: pathToFileURL(path).href }],
    results: [{ to: "sidecar" as const }],
  };
  const { run } = await accepter.accept({ submission, owner: "key1" });
  await died;
  await webhooks.redis.flushall();
  await pipeline.worker({ threads: 1, outputRoots: [pipeline.folder] });
  await accepter.replay(new AbortController().signal);
  await untilDelivered(journal, run, undefined);
  assert.equal(JSON.parse(await readFile(`${path}.labels.json`, "utf8")).run, run);
});

test("a dead letter ends a delivery: the record is removed", async () => {
  await using webhooks = await TestWebhooks.open();
  const { pipeline } = webhooks;
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  await using gone = await WebhookReceiver.start((response) => response.writeHead(410).end());
  await webhooks.start({ settle: (run, id) => accepter.settleDelivery(run, id) });
  await pipeline.worker({ threads: 1 });
  const submission = { model: MODEL, texts: ["good"], results: [{ to: "webhook" as const, url: gone.url }] };
  const { run } = await accepter.accept({ submission, owner: "key1" });
  await untilDelivered(journal, run, undefined);
  assert.equal(gone.received.length, 1);
  const id = webhookDeliveryId(run, { url: gone.url });
  assert.equal(await webhooks.outcome({ id }), "status 410: the endpoint is disabled");
});

test("a record that is written after its delivery has ended is removed, and nothing is sent again", async () => {
  await using webhooks = await TestWebhooks.open();
  const { pipeline } = webhooks;
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  await using receiver = await WebhookReceiver.start();
  await webhooks.start({ settle: (run, id) => accepter.settleDelivery(run, id) });
  await pipeline.worker({ threads: 1 });
  const submission = { model: MODEL, texts: ["good"], results: [{ to: "webhook" as const, url: receiver.url }] };
  const { run, keep } = await accepter.start({ submission, owner: "key1" });
  await run.wait();
  const delivery = await webhooks.add({ url: receiver.url }, endOfRun(run.run));
  assert.equal(await webhooks.outcome(delivery), undefined);
  await keep();
  await untilDelivered(journal, run.run, undefined);
  await accepter.replay(new AbortController().signal);
  assert.deepEqual(await collected(journal.runs()), []);
  assert.equal(receiver.received.length, 1);
});

test("the end of a planned run is delivered, and again after Redis lost the delivery", async () => {
  await using webhooks = await TestWebhooks.open();
  const { pipeline } = webhooks;
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  let status = 500;
  await using receiver = await WebhookReceiver.start((response) => response.writeHead(status).end());
  await webhooks.start({ waitsMs: [3_600_000], settle: (run, id) => accepter.settleDelivery(run, id) });
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 20);
  const target = { to: "webhook" as const, url: receiver.url };
  const request = { kind: "text" as const, path, model: MODEL, out: "run", settings: { results: [target] } };
  const { runFile, store } = await pipeline.submit(request);
  const { run } = runFile;
  await accepter.acceptPlan({ run, output: store.uri, owner: "key1" });
  await pipeline.ended(run);
  const replay = () => accepter.replay(new AbortController().signal);
  await receiver.until(1);

  await webhooks.redis.flushall();
  status = 200;
  await replay();
  await receiver.until(2);
  assert.equal(await webhooks.outcome({ id: webhookDeliveryId(run, target) }), undefined);
  await replay();
  assert.deepEqual(await collected(journal.runs()), []);
  assert.deepEqual(new Set(receiver.ids()), new Set([webhookDeliveryId(run, target)]));
  assert.equal(receiver.received.length, 2);
  const { data } = verified(receiver.received[1]!, webhooks.secret) as WebhookEvent;
  const manifest = await readManifest(store);
  assert.deepEqual(
    [data.run, data.state, data.rows, data.labels, data.output],
    [run, "succeeded", 20, manifest?.labels, store.uri],
  );
});
