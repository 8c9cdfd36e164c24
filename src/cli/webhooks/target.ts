import type { Config } from "../../config.ts";
import type { WebhookTarget } from "../../schemas/enrichment/target.ts";
import { endpointKey } from "../../webhooks/endpoints.ts";

type Target = Pick<WebhookTarget, "endpoint" | "url">;

/** The target that an argument names: a URL, or else the name of an endpoint. */
export function targetOf(argument: string): Target {
  return /^[a-z][a-z\d+.-]*:/i.test(argument) ? { url: argument } : { endpoint: argument };
}

/** @returns undefined if no such endpoint is declared, or the URL is invalid */
export function keyOfTarget({ endpoint, url }: Target, { webhooks }: Config): string | undefined {
  const parsed = URL.parse(url ?? webhooks.find(({ name }) => name === endpoint)?.url ?? "");
  return parsed ? endpointKey(parsed) : undefined;
}
