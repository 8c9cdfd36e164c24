import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { type WebhookEvent, webhookDeliveryId } from "../../../src/schemas/enrichment/delivery.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { temporaryFolder, writeTexts } from "../../helpers/runs/pipeline.ts";
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
    assert.equal(data.model.id, "tiny-sentiment");
    assert.deepEqual(
      data.items?.map((row) => ("error" in row ? row.error.code : row.label)),
      ["POSITIVE", "EMPTY_TEXT"],
    );
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

test("POST /v1/runs with webhooks: the end of the run is delivered, and a bad target is refused", async () => {
  await using receiver = await WebhookReceiver.start();
  const folder = await temporaryFolder();
  await using opened = new AsyncDisposableStack();
  opened.use(folder);
  const texts = await writeTexts(join(folder.path, "texts.csv"), 30);
  const api = opened.use(
    await TestApi.open({
      worker: false,
      settings: { allowPrivate: true, fileRoots: [folder.path], sharedFiles: true },
      file: { webhookSecrets: [ofUrls] },
    }),
  );
  const spec = { kind: "text", inputs: [texts], idColumn: "id", sliceItems: 10 };
  const bad = [
    [{ to: "webhook", endpoint: "shop" }, "WEBHOOK_UNKNOWN"],
    [{ to: "sidecar" }, "REQUEST_INVALID"],
    [{ to: "webhook" }, "REQUEST_INVALID"],
  ] as const;
  for (const [target, code] of bad) {
    const answer = await api.post("/v1/runs", { ...spec, results: [target] });
    assert.deepEqual([answer.status, ((await answer.json()) as { code: string }).code], [400, code]);
  }
  const answer = await api.post("/v1/runs", { ...spec, results: [{ to: "webhook", url: receiver.url }] });
  assert.equal(answer.status, 202, await answer.clone().text());
  const { run } = (await answer.json()) as { run: string };
  await api.pipeline.worker({ threads: 1, fileRoots: [folder.path] }, { plan: planFromRunFile });
  assert.equal(await api.pipeline.ended(run), "succeeded");
  const [received] = await receiver.until(1);
  const { data } = verified(received!, ofUrls) as WebhookEvent;
  assert.deepEqual([data.run, data.state, data.rows, data.errors], [run, "succeeded", 30, 0]);
  assert.equal(received!.headers["webhook-id"], webhookDeliveryId(run, { url: receiver.url }));
});
