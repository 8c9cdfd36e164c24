import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, LabelmillError } from "../../../src/errors.ts";
import type { ResultTarget } from "../../../src/schemas/enrichment/target.ts";
import { WebhookEndpointsSchema } from "../../../src/schemas/enrichment/webhook.ts";
import { checkEndpoints, checkTargets, resolveTarget, type WebhookSettings } from "../../../src/webhooks/endpoints.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";

const [ofShop, ofUrls] = [newWebhookSecret(), newWebhookSecret()];
const settings: WebhookSettings = {
  webhooks: [{ name: "shop", url: "https://shop.example.org/hooks?token=s3cr3t", secrets: [ofShop] }],
  webhookSecrets: [ofUrls],
  allowPrivate: false,
};

const webhook = (target: { endpoint?: string; url?: string }): ResultTarget => ({ to: "webhook", ...target });

function assertRefused(target: ResultTarget, code: ErrorCode, used = settings): void {
  assert.throws(
    () => checkTargets([{ to: "sidecar" }, target], used),
    (error) => {
      assert.ok(error instanceof LabelmillError, String(error));
      assert.equal(error.code, code);
      assert.doesNotMatch(error.message, /s3cr3t|whsec_/);
      return true;
    },
  );
}

test("a declared endpoint has its own URL and secrets, and a URL has the common secrets", () => {
  const shop = resolveTarget({ endpoint: "shop" }, settings);
  assert.equal(shop.url.href, "https://shop.example.org/hooks?token=s3cr3t");
  assert.deepEqual(shop.secrets, [ofShop]);
  assert.equal(shop.name, "shop");
  const other = resolveTarget({ url: "https://example.org/a?token=s3cr3t#part" }, settings);
  assert.equal(other.url.href, "https://example.org/a?token=s3cr3t");
  assert.deepEqual(other.secrets, [ofUrls]);
  assert.equal(other.name, undefined);
});

test("the key of an endpoint is that of its URL, whatever its name", () => {
  const byUrl = resolveTarget({ url: "https://shop.example.org/hooks?token=s3cr3t" }, settings);
  assert.equal(resolveTarget({ endpoint: "shop" }, settings).key, byUrl.key);
  assert.match(byUrl.key, /^[0-9a-f]{32}$/);
  assert.notEqual(resolveTarget({ url: "https://shop.example.org/hooks" }, settings).key, byUrl.key);
});

test("URLs of one origin share a group, and each declared endpoint has a separate one", () => {
  const group = (url: string) => resolveTarget({ url }, settings).group;
  assert.equal(group("https://example.org/a"), group("https://example.org/b?c"));
  assert.notEqual(group("https://example.org/a"), group("https://example.org:8443/a"));
  assert.notEqual(group("https://shop.example.org/hooks"), resolveTarget({ endpoint: "shop" }, settings).group);
});

test("an endpoint that is not declared is refused", () => {
  assertRefused(webhook({ endpoint: "stop" }), "WEBHOOK_UNKNOWN");
  assertRefused(webhook({ endpoint: "shop" }), "WEBHOOK_UNKNOWN", { ...settings, webhooks: [] });
});

test("a URL is refused if the server has no secrets for it", () => {
  assertRefused(webhook({ url: "https://example.org/?s3cr3t" }), "WEBHOOK_UNSIGNED", {
    ...settings,
    webhookSecrets: [],
  });
  checkTargets([webhook({ endpoint: "shop" })], { ...settings, webhookSecrets: [] });
});

test("private, loopback and metadata addresses, other schemes and credentials are refused before anything is sent", () => {
  const closed = [
    ...["http://127.0.0.1/", "http://localhost:8080/", "https://[::1]/", "http://10.0.0.8/a", "http://192.168.1.1/"],
    ...["http://169.254.169.254/latest/meta-data", "http://0x7f000001/", "http://[::ffff:10.0.0.1]/", "http://0/"],
    ...["ftp://example.org/", "file:///etc/passwd", "javascript:1", "https://u:s3cr3t@example.org/"],
  ];
  for (const url of closed) assertRefused(webhook({ url }), "URL_REFUSED");
});

test("allowPrivate opens private addresses, and never those of metadata services", () => {
  const open = { ...settings, allowPrivate: true };
  checkTargets([webhook({ url: "http://127.0.0.1:8080/" }), webhook({ url: "http://localhost/" })], open);
  assertRefused(webhook({ url: "http://169.254.169.254/" }), "URL_REFUSED", open);
});

test("a declared endpoint with a closed address is refused at the start, with its name", () => {
  checkEndpoints(settings);
  const webhooks = [...settings.webhooks, { name: "inside", url: "http://10.0.0.8/", secrets: [ofShop] }];
  assert.throws(() => checkEndpoints({ ...settings, webhooks }), {
    code: "CONFIG_INVALID",
    message: /webhooks: inside: .*10\.0\.0\.8.*--allow-private/,
  });
});

test("two endpoints with one name are refused", () => {
  const [shop] = settings.webhooks;
  assert.ok(WebhookEndpointsSchema.safeParse([shop, { ...shop, name: "shop2" }]).success);
  assert.equal(WebhookEndpointsSchema.safeParse([shop, shop]).error?.issues[0]?.message, "expected each name once");
});
