import assert from "node:assert/strict";
import { test } from "node:test";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { collected } from "../../helpers/runs/accepting.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { isError } from "../../helpers/store-conformance.ts";

test("a server accepts no submission whose webhook it cannot deliver, and writes and queues nothing", async () => {
  await using api = await TestApi.open({ worker: false, file: { webhookSecrets: [newWebhookSecret()] } });
  const { accepter, store } = api.deps;
  const refused = [
    [{ endpoint: "shop" }, "WEBHOOK_UNKNOWN"],
    [{ url: "http://127.0.0.1:8080/" }, "URL_REFUSED"],
    [{ url: "http://169.254.169.254/latest/meta-data" }, "URL_REFUSED"],
  ] as const;
  for (const [target, code] of refused) {
    const results = [{ to: "webhook" as const, ...target }];
    const given = { submission: { model: "tiny-sentiment", texts: ["good"], results }, owner: "-" };
    await assert.rejects(accepter.accept(given), isError(code));
    await assert.rejects(accepter.start(given), isError(code));
  }
  assert.deepEqual(await collected(store.list("")), []);
  const redis = await api.pipeline.connection();
  assert.deepEqual(await redis.keys("*:interactive:*"), []);
});

test("a server with an endpoint that it may not reach does not start", async () => {
  const webhooks = [{ name: "inside", url: "http://10.0.0.8/", secrets: [newWebhookSecret()] }];
  await assert.rejects(
    TestApi.open({ worker: false, file: { webhooks } as never }),
    isError("CONFIG_INVALID", /webhooks: inside: .*10\.0\.0\.8/),
  );
});
