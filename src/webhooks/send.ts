import type { Poster } from "../fetch/post.ts";
import type { WebhookEvent } from "../schemas/enrichment/delivery.ts";
import type { Endpoint } from "./endpoints.ts";
import { signedHeaders } from "./sign.ts";

/** The time limit of one try. */
export const SEND_TIMEOUT_MS = 10_000;
/** A longer body is sent without the rows. In bytes. */
export const MAX_BODY_BYTES = 256 * 1024;

/**
 * Sends one signed try.
 * @returns the status, as `Poster.post`
 * @throws as `Poster.post`
 */
export async function sendSigned(
  poster: Poster,
  endpoint: Pick<Endpoint, "url" | "secrets">,
  message: { id: string; body: Uint8Array },
  options: { timeoutMs: number; signal: AbortSignal },
): Promise<number> {
  const headers = { "content-type": "application/json", ...signedHeaders(message, endpoint.secrets, Date.now()) };
  return await poster.post(endpoint.url, { headers, body: message.body, ...options });
}

/** The body of an event: the same bytes at each try. */
export function bodyOf(event: WebhookEvent): Buffer {
  const body = Buffer.from(JSON.stringify(event));
  if (body.length <= MAX_BODY_BYTES) return body;
  const { items: _, ...data } = event.data;
  return Buffer.from(JSON.stringify({ ...event, data }));
}
