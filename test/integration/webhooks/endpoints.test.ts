import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { disabledEndpoints, enableEndpoint } from "../../../src/webhooks/disabled-endpoints.ts";
import { EndpointCounts } from "../../../src/webhooks/endpoint-counts.ts";
import { resolveTarget } from "../../../src/webhooks/endpoints.ts";
import { endOfRun, TestWebhooks } from "../../helpers/runs/test-webhooks.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

test("an answer 410 disables the endpoint for every server, also after Redis was lost, until it is enabled", async () => {
  await using receiver = await WebhookReceiver.start((response, _received, count) =>
    response.writeHead(count === 1 ? 410 : 200).end(),
  );
  await using webhooks = await TestWebhooks.open();
  await webhooks.start();
  assert.equal(await webhooks.deliver(receiver.url), "status 410: the endpoint is disabled");
  const { since } = [...(await disabledEndpoints(webhooks.state)).values()][0]!;
  assert.equal(await webhooks.deliver(receiver.url), `the endpoint is disabled since ${since}: it answered 410`);
  assert.equal(await webhooks.deliver(new URL("/other", receiver.url).href), undefined);
  assert.equal(receiver.received.length, 2);

  await using later = await TestWebhooks.open();
  await later.start({ state: webhooks.state });
  assert.match((await later.deliver(receiver.url))!, /^the endpoint is disabled since /);
  const { key } = resolveTarget(
    { url: receiver.url },
    { webhooks: [], webhookSecrets: [later.secret], allowPrivate: true },
  );
  assert.equal(await enableEndpoint(webhooks.state, key), true);
  assert.equal(await enableEndpoint(webhooks.state, key), false);
  assert.equal(await later.deliver(receiver.url), undefined);
  assert.equal(receiver.received.length, 3);
  assert.equal(webhooks.settled.length, 3);
});

test("deliveries wait while the state store cannot be used, and use no try", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  const read = webhooks.state.getWithEtag.bind(webhooks.state);
  let failures = 0;
  webhooks.state.getWithEtag = async (key) => {
    failures += 1;
    if (failures < 4) throw new Error("the store is not available");
    return read(key);
  };
  await webhooks.start({ waitsMs: [] });
  assert.equal(await webhooks.deliver(receiver.url), undefined);
  assert.equal(failures, 4);
});

test("an address that turns out to be private is refused without a connection, at once and with a reason", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  await webhooks.start({
    settings: { allowPrivate: false },
    resolve: (_hostname, _options, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
  });
  const reason = await webhooks.deliver(`http://changing.test:${receiver.port}/`);
  assert.match(reason!, /public addresses, changing\.test has one that is loopback.*\(after 1 try\)$/);
  assert.match((await webhooks.deliver(receiver.url))!, /127\.0\.0\.1 has one that is loopback/);
  assert.equal(receiver.connections(), 0);
  assert.equal(webhooks.settled.length, 2);
});

test("a redirect is a failed try and is not followed", async () => {
  await using webhooks = await TestWebhooks.open();
  await using inside = await WebhookReceiver.start();
  await using receiver = await WebhookReceiver.start((response) =>
    response.writeHead(307, { location: inside.url }).end(),
  );
  await webhooks.start();
  assert.equal(await webhooks.deliver(receiver.url), "status 307 (after 3 tries)");
  assert.equal(receiver.received.length, 3);
  assert.equal(inside.connections(), 0);
});

test("a connection that is reset and an endpoint that never answers are failed tries", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response, { path }, count) => {
    if (count === 3) response.end();
    else if (path === "/reset") response.socket!.resetAndDestroy();
  });
  await webhooks.start({ timeoutMs: 200 });
  assert.equal(await webhooks.deliver(new URL("/reset", receiver.url).href), undefined);
  assert.equal(await webhooks.deliver(receiver.url), "no answer within 200 ms (after 3 tries)");
  assert.equal(receiver.received.length, 6);
});

test("an answer counts by its status alone: its body may be endless, or stop", { timeout: 30_000 }, async () => {
  await using webhooks = await TestWebhooks.open();
  const closed: Promise<unknown>[] = [];
  let sent = 0;
  await using receiver = await WebhookReceiver.start((response, { path }) => {
    closed.push(once(response, "close"));
    response.writeHead(200).write("ok");
    const pour = () => {
      while (path === "/endless" && !response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536;
    };
    response.on("drain", pour);
    pour();
  });
  await webhooks.start();
  assert.equal(await webhooks.deliver(new URL("/endless", receiver.url).href), undefined);
  assert.equal(await webhooks.deliver(new URL("/stops", receiver.url).href), undefined);
  await Promise.all(closed);
  // The kernel's buffers take some more than is read.
  assert.ok(sent < 20_000_000, `${sent} bytes were taken`);
});

test("a slow endpoint does not hold up others, and gets at most its places at a time", {
  timeout: 60_000,
}, async () => {
  await using webhooks = await TestWebhooks.open();
  let running = 0;
  let most = 0;
  const release = Promise.withResolvers<void>();
  await using slow = await WebhookReceiver.start((response) => {
    most = Math.max(most, ++running);
    void release.promise.then(() => {
      running -= 1;
      response.end();
    });
  });
  await using quick = await WebhookReceiver.start();
  await webhooks.start({ atOnceToEndpoint: 2 });
  const held = [];
  for (let i = 0; i < 40; i++) held.push(await webhooks.add({ url: `${slow.url}?${i}` }));
  await slow.until(2);
  for (let i = 0; i < 20; i++) assert.equal(await webhooks.deliver(quick.url), undefined);
  assert.equal(slow.received.length, 2);
  release.resolve();
  for (const delivery of held) assert.equal(await webhooks.outcome(delivery), undefined);
  assert.equal(most, 2);
  assert.deepEqual(new Set(slow.ids()), new Set(held.map(({ id }) => id)));
  assert.equal(slow.received.length, 40);
});

test("the rows are sent, and removed from Redis when they are delivered", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start();
  await webhooks.start();
  const row = { id: "1", label: "POSITIVE", score: 1, labels: [{ label: "POSITIVE", score: 1 }] };
  const items = [{ ...row, source: { uri: "submitted:", record: 0 } }];
  const event = endOfRun(undefined, { items });
  const { id } = await webhooks.add({ url: receiver.url }, event);
  assert.equal(await webhooks.outcome({ id }), undefined);
  assert.deepEqual(verified(receiver.received[0]!, webhooks.secret), event);
  const { items: _, ...data } = event.data;
  assert.deepEqual((await webhooks.job(id)).data.event, { ...event, data });
});

test("deliveries, failed tries and dead letters are counted for each endpoint", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response, _received, count) =>
    response.writeHead(count === 2 ? 200 : 500).end(),
  );
  await webhooks.start();
  assert.equal(await webhooks.deliver(`${receiver.url}?token=s3cr3t`), undefined);
  assert.equal(await webhooks.deliver(`${receiver.url}?token=s3cr3t`), "status 500 (after 3 tries)");
  const counts = [...(await new EndpointCounts(webhooks.redis).all()).values()];
  assert.equal(counts.length, 1);
  const { deliveredAt, failedAt, ...rest } = counts[0]!;
  assert.deepEqual(rest, {
    url: receiver.url,
    delivered: 1,
    failedTries: 4,
    dead: 1,
    failure: "status 500 (after 3 tries)",
  });
  assert.ok(Date.parse(deliveredAt!) <= Date.parse(failedAt!));
});

test("no log line contains a secret, a signature, a query or the content of an event", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response, { path }) =>
    response.writeHead(path === "/gone?s3cr3t" ? 410 : 500).end(),
  );
  await webhooks.start();
  const event = endOfRun(undefined, { labels: { C0NTENT: 1 } });
  await webhooks.deliver(`${receiver.url}?s3cr3t`, event);
  await webhooks.deliver(new URL("/gone?s3cr3t", receiver.url).href, event);
  await webhooks.deliver("ftp://u:s3cr3t@example.org/", event);
  const text = JSON.stringify(webhooks.lines.lines);
  assert.ok(webhooks.lines.lines.length >= 5, text);
  for (const part of ["s3cr3t", "C0NTENT", webhooks.secret.slice(6), "v1,"]) assert.ok(!text.includes(part), part);
});
