import type { Poster } from "../fetch/post.ts";
import type { Endpoint } from "./endpoints.ts";
import { signedHeaders } from "./sign.ts";

/** The time limit of one try. */
export const SEND_TIMEOUT_MS = 10_000;

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
