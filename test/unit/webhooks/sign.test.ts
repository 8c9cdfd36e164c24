import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { WebhookSecretSchema } from "../../../src/schemas/enrichment/webhook.ts";
import { newWebhookSecret, signedHeaders } from "../../../src/webhooks/sign.ts";

const id = "msg_0123456789abcdef0123456789abcdef";
const body = Buffer.from(JSON.stringify({ type: "run.ended", data: { text: "a café, 日本, 🙂 and a \u2028 line" } }));

const secretOf = (bytes: number) => `whsec_${randomBytes(bytes).toString("base64")}`;

test("the library of the specification verifies the signature, with secrets of every allowed length", () => {
  for (let bytes = 24; bytes <= 64; bytes++) {
    const secret = WebhookSecretSchema.parse(secretOf(bytes));
    const headers = signedHeaders({ id, body }, [secret], Date.now());
    assert.deepEqual(new Webhook(secret).verify(body.toString(), headers), JSON.parse(body.toString()));
  }
});

test("the headers equal those that the library makes", () => {
  const secret = newWebhookSecret();
  const at = Date.UTC(2026, 10, 29, 15, 0, 0, 999);
  assert.deepEqual(signedHeaders({ id, body }, [secret], at), {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, new Date(at), body.toString()),
  });
});

test("while a secret is rotated, a receiver with either secret accepts the request, and one with a third does not", () => {
  const secrets = [newWebhookSecret(), newWebhookSecret()];
  const headers = signedHeaders({ id, body }, secrets, Date.now());
  assert.equal(headers["webhook-signature"].split(" ").length, 2);
  for (const secret of secrets) new Webhook(secret).verify(body.toString(), headers);
  assert.throws(() => new Webhook(newWebhookSecret()).verify(body.toString(), headers), WebhookVerificationError);
});

test("the signature covers the body, the id and the timestamp", () => {
  const secret = newWebhookSecret();
  const headers = signedHeaders({ id, body }, [secret], Date.now());
  const later = String(Number(headers["webhook-timestamp"]) + 1);
  const changed = [
    { ...headers, "webhook-id": `${id}0` },
    { ...headers, "webhook-timestamp": later },
  ];
  for (const each of changed) assert.throws(() => new Webhook(secret).verify(body.toString(), each), /No matching/);
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers), /No matching/);
});

test("a new secret is one of 32 random bytes", () => {
  const made = new Set(Array.from({ length: 100 }, newWebhookSecret));
  assert.equal(made.size, 100);
  for (const secret of made) {
    assert.equal(Buffer.from(WebhookSecretSchema.parse(secret).slice(6), "base64").length, 32);
  }
});

test("a secret that the libraries cannot read is refused", () => {
  const ok = secretOf(25);
  assert.ok(WebhookSecretSchema.safeParse(ok).success);
  const wrong = [
    ok.replace("whsec_", ""),
    ok.replace("whsec_", "whsk_"),
    ok.replaceAll("=", ""),
    `${ok}=`,
    ` ${ok}`,
    ok.replace(/[A-Za-z]{2}==$/, "-_=="),
    secretOf(23),
    secretOf(65),
    secretOf(66),
    "whsec_",
  ];
  // A random secret may have no letters at its end; then the replacement changes nothing.
  for (const each of wrong) if (each !== ok) assert.ok(!WebhookSecretSchema.safeParse(each).success, each);
});
