import assert from "node:assert/strict";
import { test } from "node:test";
import type { WebhookEvent } from "../../../src/schemas/enrichment/delivery.ts";
import { webhookDeliveryId } from "../../../src/schemas/enrichment/delivery.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

const [ofShop, ofUrls] = [newWebhookSecret(), newWebhookSecret()];

test("POST /v1/label/text with webhooks: each target gets the rows once, signed with its secret", async () => {
  await using receiver = await WebhookReceiver.start();
  const shop = new URL("/shop", receiver.url).href;
  await using api = await TestApi.open({
    settings: { allowPrivate: true },
    file: { webhooks: [{ name: "shop", url: shop, secrets: [ofShop] }], webhookSecrets: [ofUrls] },
  });
  const results = [
    { to: "webhook", endpoint: "shop" },
    { to: "webhook", url: receiver.url },
  ];
  const answer = await api.post("/v1/label/text", { items: ["Great value, wonderful", ""], results });
  assert.equal(answer.status, 202, await answer.clone().text());
  const { run } = (await answer.json()) as { run: string };

  const all = await receiver.until(2);
  for (const received of all) {
    const isShop = received.path === "/shop";
    const { type, data } = verified(received, isShop ? ofShop : ofUrls) as WebhookEvent;
    const target = isShop ? { endpoint: "shop" } : { url: receiver.url };
    assert.equal(received.headers["webhook-id"], webhookDeliveryId(run, target));
    assert.deepEqual(
      [type, data.run, data.state, data.rows, data.errors, data.labels],
      ["run.ended", run, "finished_with_errors", 2, 1, { POSITIVE: 1 }],
    );
    assert.equal(data.part, `single-${run}.jsonl`);
    assert.ok(data.model.id === "tiny-sentiment");
  }
  assert.deepEqual(new Set(all.map(({ path }) => path)), new Set(["/shop", "/hook"]));
});

test("a request with a webhook that the server cannot deliver gets a problem, and nothing is queued", async () => {
  await using api = await TestApi.open({ worker: false, file: { webhookSecrets: [ofUrls] } });
  const refused = [
    [{ to: "webhook", endpoint: "shop" }, 400, "WEBHOOK_UNKNOWN"],
    [{ to: "webhook", url: "http://127.0.0.1/" }, 422, "URL_REFUSED"],
    [{ to: "webhook", url: "http://localhost:9200/" }, 422, "URL_REFUSED"],
    [{ to: "webhook", url: "ftp://example.org/" }, 400, "REQUEST_INVALID"],
    [{ to: "webhook" }, 400, "REQUEST_INVALID"],
  ] as const;
  for (const [target, status, code] of refused) {
    for (const prefer of [{}, { prefer: "wait=1" }] as Record<string, string>[]) {
      const answer = await api.post("/v1/label/text", { items: ["good"], results: [target] }, prefer);
      const problem = (await answer.json()) as { code: string };
      assert.deepEqual([answer.status, problem.code], [status, code], JSON.stringify(problem));
    }
  }
  assert.deepEqual(await Array.fromAsync(api.deps.store.list(""), ({ key }) => key), []);
});
