import assert from "node:assert/strict";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { endOfRun, TestWebhooks } from "../../helpers/runs/test-webhooks.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

test("an event is delivered once, with its bytes and headers signed, however often it is queued", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  await webhooks.start();
  const event = endOfRun();
  const { id } = await webhooks.add({ url: `${receiver.url}?a=1#part` }, event);
  assert.equal(await webhooks.outcome({ id }), undefined);
  await webhooks.add({ url: `${receiver.url}?a=1#part` }, event);
  assert.equal(await webhooks.deliver(receiver.url), undefined);
  const [received] = receiver.received;
  assert.equal(receiver.received.length, 2);
  assert.deepEqual(verified(received!, webhooks.secret), event);
  assert.equal(received!.path, "/hook?a=1");
  assert.equal(received!.headers["webhook-id"], id);
  assert.equal(received!.headers["content-type"], "application/json");
  assert.equal(received!.headers["user-agent"], "labelmill");
  assert.deepEqual(webhooks.settled, receiver.ids());
});

test("a failed delivery is tried again with the same id and body and a new timestamp, until it succeeds", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response, _received, count) =>
    response.writeHead([500, 404, 200][count - 1]!).end("ok"),
  );
  await webhooks.start();
  const delivery = await webhooks.add({ url: receiver.url });
  assert.equal(await webhooks.outcome(delivery), undefined);
  assert.deepEqual(receiver.ids(), [delivery.id, delivery.id, delivery.id]);
  assert.equal(new Set(receiver.received.map(({ body }) => body)).size, 1);
  for (const received of receiver.received) verified(received, webhooks.secret);
  assert.deepEqual(webhooks.settled, [delivery.id]);
});

test("after its last try a delivery is a dead letter with its reason and without secrets", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response) => response.writeHead(503).end());
  await webhooks.start();
  const delivery = await webhooks.add({ url: receiver.url });
  assert.equal(await webhooks.outcome(delivery), "status 503 (after 3 tries)");
  assert.equal(receiver.received.length, 3);
  assert.deepEqual(webhooks.settled, [delivery.id]);
  assert.equal(await webhooks.queue.getJobState(delivery.id), "failed");
  const kept = JSON.stringify(await webhooks.redis.hgetall(webhooks.queue.toKey(delivery.id)));
  assert.ok(!kept.includes(webhooks.secret.slice(6)));
  assert.doesNotMatch(kept, /v1,|\.ts:\d/);
});

test("each of two secrets of an endpoint verifies its requests, and a URL has other secrets", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  const secrets = [newWebhookSecret(), newWebhookSecret()];
  await webhooks.start({ settings: { webhooks: [{ name: "shop", url: receiver.url, secrets }] } });
  assert.equal(await webhooks.outcome(await webhooks.add({ endpoint: "shop" })), undefined);
  assert.equal(await webhooks.deliver(receiver.url), undefined);
  const [toShop, toUrl] = receiver.received;
  for (const secret of secrets) verified(toShop!, secret);
  verified(toUrl!, webhooks.secret);
  assert.throws(() => verified(toShop!, webhooks.secret));
  assert.throws(() => verified(toUrl!, secrets[0]!));
});

test("a delivery to an endpoint that this server does not declare yet waits for one that does", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  const older = await webhooks.start({ waitsMs: [200, 200, 200, 200] });
  const delivery = await webhooks.add({ endpoint: "shop" });
  await webhooks.lines.until(/webhook try failed/);
  await older.close();
  const shop = { name: "shop", url: receiver.url, secrets: [webhooks.secret] };
  await webhooks.start({ settings: { webhooks: [shop] } });
  assert.equal(await webhooks.outcome(delivery), undefined);
  assert.deepEqual(receiver.ids(), [delivery.id]);
});

test("a Retry-After sets the wait before the next try", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response) =>
    response.writeHead(429, { "retry-after": "1800" }).end(),
  );
  await webhooks.start();
  const { id } = await webhooks.add({ url: receiver.url });
  await webhooks.lines.until(/webhook try failed/);
  while ((await webhooks.queue.getJobState(id)) !== "delayed") await new Promise(setImmediate);
  assert.equal((await webhooks.job(id)).delay, 1_800_000);
});

test("if the run's record cannot be written, the delivery is settled later and not sent again", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response, { path }) =>
    response.writeHead(path === "/dead" ? 410 : 200).end(),
  );
  const failures = new Map<string, number>();
  await webhooks.start({
    async settle(_run, id) {
      const failed = (failures.get(id) ?? 0) + 1;
      failures.set(id, failed);
      if (failed < 3) throw new Error("the store is not available");
      webhooks.settled.push(id);
    },
  });
  const [good, bad] = [
    await webhooks.add({ url: receiver.url }),
    await webhooks.add({ url: new URL("/dead", receiver.url).href }),
  ];
  assert.equal(await webhooks.outcome(good), undefined);
  assert.equal(await webhooks.outcome(bad), "status 410: the endpoint is disabled");
  assert.deepEqual(new Set(receiver.ids()), new Set([good.id, bad.id]));
  assert.equal(receiver.received.length, 2);
  assert.deepEqual(new Set(webhooks.settled), new Set([good.id, bad.id]));
  assert.equal(webhooks.settled.length, 2);
});

test("a record that cannot be changed does not keep a delivery in the queue", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  let calls = 0;
  await webhooks.start({
    async settle() {
      calls += 1;
      throw new LabelmillError("OUTPUT_FOREIGN", "another file");
    },
  });
  assert.equal(await webhooks.deliver(receiver.url), undefined);
  assert.deepEqual([receiver.received.length, calls], [1, 1]);
  assert.equal(webhooks.lines.warned(/could not be recorded: it may be sent again/).length, 1);
});

test("a payload that is not a delivery is a dead letter at once", async () => {
  await using webhooks = await TestWebhooks.open();
  await webhooks.start();
  const { id } = await webhooks.queue.add("deliver", { v: 1, id: "msg_1" }, { attempts: 8 });
  assert.match((await webhooks.outcome({ id: id! }))!, /^id: /);
  assert.deepEqual(webhooks.settled, []);
});

test("a running try that the server's stop interrupts uses no try, and the next server sends it", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response, _received, count) => {
    if (count > 1) response.end();
  });
  const first = await webhooks.start({ settings: { graceMs: 50 }, waitsMs: [] });
  const delivery = await webhooks.add({ url: receiver.url });
  await receiver.until(1);
  const second = webhooks.start({ waitsMs: [] });
  await Promise.all([first.close(), second]);
  assert.equal(await webhooks.outcome(delivery), undefined);
  assert.deepEqual(receiver.ids(), [delivery.id, delivery.id]);
});
