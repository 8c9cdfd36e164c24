import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { WebhooksMainOptions } from "../../helpers/processes/webhooks-main.ts";
import { TestWebhooks } from "../../helpers/runs/test-webhooks.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

const SCRIPT = fileURLToPath(new URL("../../helpers/processes/webhooks-main.ts", import.meta.url));

test("a server that is killed during a try loses no delivery: another sends it again with the same id", {
  timeout: 60_000,
}, async (t) => {
  await using webhooks = await TestWebhooks.open();
  const { pipeline, secret } = webhooks;
  const options: WebhooksMainOptions = { redis: { url: pipeline.redis.url }, state: pipeline.output("state"), secret };
  const server: ChildProcess = spawn(process.execPath, [SCRIPT, JSON.stringify(options)], { stdio: "inherit" });
  t.after(() => server.kill("SIGKILL"));
  const killed = once(server, "exit");
  await using receiver = await WebhookReceiver.start((response, _received, count) => {
    if (count > 1) response.writeHead(204).end();
    else server.kill("SIGKILL");
  });
  const delivery = await webhooks.add({ url: receiver.url });
  await receiver.until(1);
  assert.deepEqual(await killed, [null, "SIGKILL"]);
  assert.equal(await webhooks.queue.getJobState(delivery.id), "active");

  await webhooks.start({ waitsMs: [] });
  assert.equal(await webhooks.outcome(delivery), undefined);
  assert.deepEqual(receiver.ids(), [delivery.id, delivery.id]);
  for (const received of receiver.received) verified(received, secret);
  assert.deepEqual(webhooks.settled, [delivery.id]);
});
