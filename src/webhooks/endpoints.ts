import { createHash } from "node:crypto";
import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import { guardUrl } from "../fetch/guard.ts";
import { show } from "../fetch/printable-url.ts";
import type { ResultTarget, WebhookTarget } from "../schemas/enrichment/target.ts";

export type WebhookSettings = Pick<Config, "webhooks" | "webhookSecrets" | "allowPrivate">;

/** Where a delivery goes. */
export type Endpoint = {
  /** Identifies the URL without showing it: 32 hexadecimal digits. */
  key: string;
  /** The name of a declared endpoint. */
  name?: string;
  /** The name, or the origin of the URL: for logs, and deliveries of one group share a bound on their number at a time. */
  group: string;
  url: URL;
  secrets: readonly string[];
};

/**
 * The endpoint of a target, by the settings as they are now.
 * @throws LabelmillError WEBHOOK_UNKNOWN (an endpoint that is not declared), WEBHOOK_UNSIGNED (a URL, and no secrets are
 * set), URL_REFUSED
 */
export function resolveTarget(target: Pick<WebhookTarget, "endpoint" | "url">, settings: WebhookSettings): Endpoint {
  const { endpoint: name } = target;
  const declared = settings.webhooks.find((each) => each.name === name);
  if (name !== undefined && !declared) {
    throw new LabelmillError(
      "WEBHOOK_UNKNOWN",
      `expected the name of a webhook endpoint in the settings of the server, got ${JSON.stringify(show(name))}. ` +
        "To fix it, declare the endpoint under webhooks in the file of --config, or send to a url",
    );
  }
  const secrets = declared?.secrets ?? settings.webhookSecrets;
  if (secrets.length === 0) {
    throw new LabelmillError(
      "WEBHOOK_UNSIGNED",
      "expected a declared webhook endpoint, got a url, and this server has no secrets to sign it with. " +
        "To fix it, set webhookSecrets (LABELMILL_WEBHOOK_SECRETS), or declare an endpoint under webhooks in the file of --config",
    );
  }
  const url = URL.parse(declared?.url ?? target.url ?? "");
  // The text is not shown: without parsing, a password in it cannot be found.
  if (!url) throw new LabelmillError("URL_REFUSED", "expected an http: or https: URL, got another text");
  guardUrl(url, settings.allowPrivate);
  url.hash = "";
  return {
    key: endpointKey(url),
    ...(declared ? { name: declared.name } : {}),
    group: declared?.name ?? url.origin,
    url,
    secrets,
  };
}

/** The key of the endpoint at a URL. */
export function endpointKey(url: URL): string {
  const { hash, href } = url;
  return createHash("sha256")
    .update(href.slice(0, href.length - hash.length))
    .digest("hex")
    .slice(0, 32);
}

/**
 * Checks the webhooks of a submission before anything is queued. Names of hosts are looked up only when a delivery is
 * sent.
 * @throws LabelmillError as `resolveTarget`
 */
export function checkTargets(targets: readonly ResultTarget[], settings: WebhookSettings): void {
  for (const target of targets) if (target.to === "webhook") resolveTarget(target, settings);
}

/** Checks all declared endpoints. @throws LabelmillError CONFIG_INVALID that names the endpoint */
export function checkEndpoints(settings: WebhookSettings): void {
  for (const { name } of settings.webhooks) {
    try {
      resolveTarget({ endpoint: name }, settings);
    } catch (error) {
      if (!(error instanceof LabelmillError)) throw error;
      throw new LabelmillError("CONFIG_INVALID", `webhooks: ${name}: ${error.message}`, { cause: error });
    }
  }
}
