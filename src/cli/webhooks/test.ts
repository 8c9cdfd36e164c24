import { randomBytes } from "node:crypto";
import { LabelmillError, messageOf } from "../../errors.ts";
import { Poster } from "../../fetch/post.ts";
import { resolveTarget } from "../../webhooks/endpoints.ts";
import { SEND_TIMEOUT_MS, sendSigned } from "../../webhooks/send.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { targetOf } from "./target.ts";

/**
 * `labelmill webhooks test ENDPOINT|URL`: sends one event of the type `webhook.test`, also to an endpoint that is disabled.
 * @returns the exit code: 1 if the answer is not 2xx
 * @throws LabelmillError WEBHOOK_UNKNOWN, WEBHOOK_UNSIGNED, URL_REFUSED
 */
export async function testEndpoint(
  argument: string,
  { config, terminal }: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  const endpoint = resolveTarget(targetOf(argument), config);
  const event = { type: "webhook.test", timestamp: new Date().toISOString(), data: { from: "labelmill" } };
  const message = { id: `msg_${randomBytes(16).toString("hex")}`, body: Buffer.from(JSON.stringify(event)) };
  const poster = new Poster({ allowPrivate: config.allowPrivate });
  const startedAt = performance.now();
  let got: { status: number } | { failure: string };
  try {
    got = { status: await sendSigned(poster, endpoint, message, { timeoutMs: SEND_TIMEOUT_MS, signal }) };
  } catch (error) {
    if (error instanceof LabelmillError) throw error;
    got = { failure: messageOf(error) };
  } finally {
    await poster.close();
  }
  const ms = Math.round(performance.now() - startedAt);
  const delivered = "status" in got && got.status >= 200 && got.status <= 299;
  if (terminal.json) terminal.printJson({ id: message.id, delivered, ...got, ms });
  else terminal.print(`${message.id}: ${"status" in got ? `status ${got.status}` : got.failure} after ${ms} ms`);
  return delivered ? EXIT.ok : EXIT.failed;
}
