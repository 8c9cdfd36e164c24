import { createHmac, randomBytes } from "node:crypto";

const SECRET_PREFIX = "whsec_";
const NEW_SECRET_BYTES = 32;

/** The headers of one try, by Standard Webhooks 1.0. */
export type SignedHeaders = {
  "webhook-id": string;
  "webhook-timestamp": string;
  "webhook-signature": string;
};

/**
 * Signs one try of a delivery.
 * @param message `id`: stable over the tries, without a `.`. `body`: the bytes that are sent
 * @param secrets `whsec_` and base64 each; the request gets a signature for each, so that a receiver needs only one of them
 * @param at the time of this try, in milliseconds since 1970
 */
export function signedHeaders(
  message: { id: string; body: Uint8Array },
  secrets: readonly string[],
  at: number,
): SignedHeaders {
  const timestamp = String(Math.floor(at / 1000));
  const signatures = secrets.map((secret) => {
    const hmac = createHmac("sha256", Buffer.from(secret.slice(SECRET_PREFIX.length), "base64"));
    return `v1,${hmac.update(`${message.id}.${timestamp}.`).update(message.body).digest("base64")}`;
  });
  return { "webhook-id": message.id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
}

/** A new random secret of 32 bytes. */
export function newWebhookSecret(): string {
  return SECRET_PREFIX + randomBytes(NEW_SECRET_BYTES).toString("base64");
}
