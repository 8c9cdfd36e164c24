import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { WebhookSecretSchema } from "../../../src/schemas/enrichment/webhook.ts";
import { openStore } from "../../../src/storage/open.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TestWebhooks } from "../../helpers/runs/test-webhooks.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

const [ofShop, ofUrls] = [newWebhookSecret(), newWebhookSecret()];

/** A workspace with a settings file that declares the endpoint `shop`. */
async function workspace(shop: string, settings: Record<string, unknown> = {}): Promise<Workspace> {
  const work = await Workspace.open();
  const webhooks = [{ name: "shop", url: shop, secrets: [ofShop] }];
  const file = { webhooks, webhookSecrets: [ofUrls], allowPrivate: true, state: work.file("state"), ...settings };
  await work.write("labelmill.json", JSON.stringify(file));
  return work;
}

const CONFIG = ["--config", "labelmill.json"];

function assertNoSecrets(text: string): void {
  for (const part of [ofShop.slice(6), ofUrls.slice(6), "t0ken"]) assert.ok(!text.includes(part), text);
}

test("webhooks test sends a signed event and reports the status of the answer", async () => {
  await using receiver = await WebhookReceiver.start((response, { path }) =>
    response.writeHead(path.startsWith("/broken") ? 500 : path.startsWith("/no") ? 404 : 202).end(),
  );
  await using work = await workspace(`${receiver.url}?t0ken`);
  const named = await work.expect(0, ["webhooks", "test", "shop", ...CONFIG]);
  assert.match(named.stdout, /^msg_[0-9a-f]{32}: status 202 after \d+ ms\n$/);
  const byUrl = await work.expect(0, ["webhooks", "test", receiver.url, "--json", ...CONFIG]);
  const { id, ...shown } = JSON.parse(byUrl.stdout);
  assert.deepEqual({ ...shown, ms: 0 }, { delivered: true, status: 202, ms: 0 });
  const [first, second] = receiver.received;
  const { timestamp, ...event } = verified(first!, ofShop) as { timestamp: string };
  assert.deepEqual(event, { type: "webhook.test", data: { from: "labelmill" } });
  assert.ok(Date.parse(timestamp) <= Date.now());
  verified(second!, ofUrls);
  assert.equal(second!.headers["webhook-id"], id);

  const refused = await work.expect(1, ["webhooks", "test", new URL("/no", receiver.url).href, ...CONFIG]);
  assert.match(refused.stdout, /status 404/);
  const broken = await work.expect(1, ["webhooks", "test", new URL("/broken", receiver.url).href, "--json", ...CONFIG]);
  assert.deepEqual(
    { ...JSON.parse(broken.stdout), id: "", ms: 0 },
    { id: "", delivered: false, failure: "status 500", ms: 0 },
  );
  const unknown = await work.expect(2, ["webhooks", "test", "stop", ...CONFIG]);
  assert.match(unknown.stderr, /WEBHOOK_UNKNOWN: .*got "stop"/);
  assertNoSecrets([named, byUrl, refused, broken, unknown].map(({ stdout, stderr }) => stdout + stderr).join());
});

test("webhooks test sends nothing to a private address, and nothing unsigned", async () => {
  await using receiver = await WebhookReceiver.start();
  await using work = await workspace("https://shop.example.org/", { allowPrivate: false, webhookSecrets: [] });
  const unsigned = await work.expect(2, ["webhooks", "test", receiver.url, ...CONFIG]);
  assert.match(unsigned.stderr, /WEBHOOK_UNSIGNED: .*LABELMILL_WEBHOOK_SECRETS/);
  const env = { LABELMILL_WEBHOOK_SECRETS: ofUrls };
  const closed = await work.expect(1, ["webhooks", "test", receiver.url, ...CONFIG], { env });
  assert.match(closed.stderr, /URL_REFUSED: .*127\.0\.0\.1.*loopback/);
  assert.equal(receiver.connections(), 0);
});

test("webhooks list shows states, counts and dead letters; enable and retry send them again", async () => {
  await using webhooks = await TestWebhooks.open();
  let status = 410;
  await using receiver = await WebhookReceiver.start((response) => response.writeHead(status).end());
  await using work = await workspace(`${receiver.url}?t0ken`);
  const env = { REDIS_URL: webhooks.pipeline.redis.url };
  const command = (...args: string[]) => ["webhooks", ...args, ...CONFIG];
  const empty = await work.expect(0, command("list"), { env });
  assert.match(empty.stdout, /shop {2}http:\/\/127.0.0.1:\d+\/hook {2}enabled\n.*0 waiting · 0 delivered/);
  assert.match(empty.stdout, /Dead letters: none/);

  await webhooks.start({
    state: await openStore(pathToFileURL(`${work.file("state")}/`).href),
    settings: {
      webhooks: [{ name: "shop", url: `${receiver.url}?t0ken`, secrets: [ofShop] }],
      webhookSecrets: [ofUrls],
    },
  });
  const letters = [await webhooks.add({ endpoint: "shop" }), await webhooks.add({ endpoint: "shop" })];
  for (const letter of letters) assert.match((await webhooks.outcome(letter))!, /disabled/);
  const listed = await work.expect(0, command("list"), { env });
  assert.match(listed.stdout, /shop .* disabled since \S+: it answered 410\n/);
  assert.match(listed.stdout, /Dead letters: 2\n/);
  const { endpoints, deadLetters } = JSON.parse((await work.expect(0, command("list", "--json"), { env })).stdout);
  assert.equal(endpoints.length, 1);
  const [{ key, name, secrets, waiting, delivered, dead, disabled }] = endpoints;
  assert.deepEqual(
    { name, secrets, waiting, delivered, dead },
    { name: "shop", secrets: 1, waiting: 0, delivered: 0, dead: 2 },
  );
  assert.equal(disabled.reason, "it answered 410");
  assert.deepEqual(
    new Set(deadLetters.map((letter: { id: string }) => letter.id)),
    new Set(letters.map(({ id }) => id)),
  );
  assert.deepEqual(new Set(deadLetters.map((letter: { target: string }) => letter.target)), new Set(["shop"]));

  status = 200;
  await work.expect(2, command("enable", "stop"), { env });
  await work.expect(0, command("enable", key), { env });
  const again = await work.expect(2, command("enable", "shop"), { env });
  assert.match(again.stderr, /expected an endpoint that is disabled, got "shop"/);
  const [first, second] = letters;
  const retried = await work.expect(1, command("retry", first!.id, "msg_1"), { env });
  assert.match(retried.stdout, /^1 deliveries are in the queue again\n$/);
  assert.match(retried.stderr, /msg_1 is not a dead letter/);
  assert.equal(await webhooks.outcome(first!), undefined);
  const all = await work.expect(0, command("retry", "--all", "--json"), { env });
  assert.deepEqual(JSON.parse(all.stdout), { retried: [second!.id], unknown: [] });
  assert.equal(await webhooks.outcome(second!), undefined);
  assert.equal(receiver.ids().at(-1), second!.id);
  assertNoSecrets(listed.stdout + JSON.stringify({ endpoints, deadLetters }));
});

test("a retried delivery has all its tries again", async () => {
  await using webhooks = await TestWebhooks.open();
  await using receiver = await WebhookReceiver.start((response) => response.writeHead(500).end());
  await using work = await workspace(receiver.url);
  await webhooks.start();
  const delivery = await webhooks.add({ url: receiver.url });
  assert.equal(await webhooks.outcome(delivery), "status 500 (after 3 tries)");
  const env = { REDIS_URL: webhooks.pipeline.redis.url };
  await work.expect(0, ["webhooks", "retry", delivery.id, ...CONFIG], { env });
  await receiver.until(6);
  assert.equal(await webhooks.outcome(delivery), "status 500 (after 3 tries)");
  assert.deepEqual(new Set(receiver.ids()), new Set([delivery.id]));
});

test("without REDIS_URL the states are listed, and retry says what it needs", async () => {
  await using work = await workspace("https://shop.example.org/");
  const listed = await work.expect(0, ["webhooks", "list", ...CONFIG]);
  assert.match(listed.stdout, /shop {2}https:\/\/shop.example.org\/ {2}enabled\n$/);
  assert.match(listed.stderr, /Set REDIS_URL/);
  assert.match((await work.expect(2, ["webhooks", "retry", "--all", ...CONFIG])).stderr, /USAGE: .*REDIS_URL/);
  assert.match((await work.expect(2, ["webhooks", "retry", ...CONFIG])).stderr, /USAGE: expected ids of dead letters/);
});

test("webhooks secret prints a secret that the settings accept", async () => {
  await using work = await Workspace.open();
  WebhookSecretSchema.parse((await work.expect(0, ["webhooks", "secret"])).stdout.trim());
  WebhookSecretSchema.parse(JSON.parse((await work.expect(0, ["webhooks", "secret", "--json"])).stdout).secret);
});
