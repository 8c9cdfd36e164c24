import { LabelmillError } from "../../errors.ts";
import { openStore } from "../../storage/open.ts";
import { enableEndpoint } from "../../webhooks/disabled-endpoints.ts";
import type { CommandContext } from "../context.ts";
import { s3Of } from "../s3.ts";
import { stateOf } from "../serve/places.ts";
import { keyOfTarget, targetOf } from "./target.ts";

/** `labelmill webhooks enable ENDPOINT|URL|KEY`. @throws LabelmillError WEBHOOK_UNKNOWN if no such endpoint is disabled */
export async function enableWebhooks(argument: string, { config, terminal }: CommandContext): Promise<void> {
  const key = /^[0-9a-f]{32}$/.test(argument) ? argument : keyOfTarget(targetOf(argument), config);
  const s3 = s3Of(config);
  try {
    const state = await openStore(stateOf(config), s3);
    if (key === undefined || !(await enableEndpoint(state, key)))
      throw new LabelmillError(
        "WEBHOOK_UNKNOWN",
        `expected an endpoint that is disabled, got ${JSON.stringify(argument)}: labelmill webhooks list shows them`,
      );
  } finally {
    s3.close();
  }
  if (terminal.json) return terminal.printJson({ key, enabled: true });
  terminal.print(`Enabled ${argument}. Its dead letters stay: labelmill webhooks retry sends them again.`);
}
