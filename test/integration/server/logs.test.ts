import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { LogLines } from "../../helpers/log-lines.ts";
import { TestApi } from "../../helpers/servers/api.ts";

const FROG = await readFile(join(import.meta.dirname, "../../../examples/images/frog-on-forest-floor.jpg"));

/** Each is part of a request, and of no log line. */
const SECRETS = {
  text: "my secret text about Alice",
  id: "alice@example.com",
  signature: "X-Amz-Signature-9f8e7d6c5b4a",
  query: "token-in-the-query-1234",
  path: "secret-in-a-path-5678",
  header: "value-of-an-odd-header-4321",
  wrongKey: "lm_0badf00d_wrongwrongwrongwrongwrongwrongwrongwrong",
  webhook: "token-of-a-webhook-8765",
  sns: "signature-of-a-message-2468",
};
const WEBHOOK_SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

/** Sends what is not a complete request. */
async function sendBroken(url: string, text: string): Promise<void> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  await once(socket, "connect");
  socket.write(text);
  socket.resume();
  await once(socket, "close");
}

test("no log line at level debug has a key, a text, an id, an image, or a signature of a busy session", async () => {
  const lines = new LogLines();
  await using api = await TestApi.open({
    models: ["tiny-sentiment", "tiny-image"],
    keys: { app: ["submit"], reader: ["read"] },
    settings: { webhookSecrets: WEBHOOK_SECRET, rateLimit: 60 },
    log: lines.log,
  });
  const { text, id, signature, query, path, header, wrongKey, webhook, sns } = SECRETS;
  const app = { ...api.as("app"), prefer: "wait=30", "x-odd": header };
  const answers = [
    await api.post("/v1/label/text", { items: [{ id, text, input: { note: text } }, ""] }, app),
    await api.post("/v1/label/text", { items: [text], other: text }, app),
    await api.post("/v1/label/text", { items: [text], model: text }, app),
    await api.post("/v1/label/text", { items: [text] }, { ...app, "idempotency-key": query }),
    await api.post("/v1/label/text", { items: [text] }, api.as("reader")),
    await api.post("/v1/label/text", { items: [text] }, { authorization: `Bearer ${wrongKey}` }),
    await api.post("/v1/label/text", { items: [text] }, { "x-api-key": wrongKey }),
    await api.post("/models/tiny-sentiment", { inputs: text }, app),
    await api.post("/v1/label/images", { items: [{ data: FROG.toString("base64") }] }, app),
    await api.post(
      "/v1/label/images",
      { items: [`http://127.0.0.1:1/a.jpg?${signature}`, `https://images.invalid/b.jpg?${signature}`] },
      app,
    ),
    await api.post(
      "/v1/label/text",
      { items: [text], results: [{ to: "webhook", url: `https://hooks.invalid/${webhook}?${webhook}` }] },
      app,
    ),
    await api.post(
      "/v1/events/s3",
      { Type: "Notification", Message: text, Signature: sns, SigningCertURL: query },
      app,
    ),
    await api.fetch(`/v1/models?key=${query}`, { headers: app }),
    await api.fetch(`/${path}?${query}`, { headers: app }),
    await api.fetch(`/v1/runs/${path}`, { headers: app }),
    await api.fetch("/v1/label/text", {
      method: "POST",
      headers: { ...app, "content-type": "application/json" },
      body: `{${text}`,
    }),
  ];
  const statuses = answers.map(({ status }) => status);
  assert.deepEqual([statuses[0], statuses[1], statuses[4], statuses[5], statuses[13]], [200, 400, 403, 401, 404]);
  assert.ok(!statuses.includes(500), statuses.join());
  await sendBroken(api.url, `GET / HTTP/1.1\r\nHost: x\r\nAuthorization ${wrongKey}\r\n\r\n`);
  await sendBroken(api.url, `${text}\r\n\r\n`);
  api.pipeline.redis.cut();
  await api.post("/v1/label/text", { items: [text] }, app);
  api.pipeline.redis.restore();

  const logged = lines.lines.map((line) => JSON.stringify(line));
  assert.ok(logged.length >= answers.length, "requests are logged");
  assert.ok(
    logged.some((line) => line.includes(api.keys.get("app")!.record.id)),
    "with the id of the key",
  );
  const keys = [...api.keys.values()].map(({ key }) => key);
  const hidden = [...Object.values(SECRETS), ...keys, ...keys.map((key) => key.slice(12)), WEBHOOK_SECRET];
  for (const secret of [...hidden, FROG.toString("base64").slice(100, 140)])
    assert.deepEqual(
      logged.filter((line) => line.includes(secret)),
      [],
      secret,
    );
});
