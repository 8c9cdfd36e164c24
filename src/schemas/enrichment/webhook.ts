import { z } from "zod";

/** A secret of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64. */
export const WebhookSecretSchema = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, "a secret whsec_ and 24 to 64 bytes in base64");

/** A webhook endpoint that rules and requests refer to by its name. */
export const WebhookEndpointSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  url: z.url({ protocol: /^https?$/ }).max(2048),
  /** Two while a secret is rotated: the request has a signature for each. */
  secrets: z.array(WebhookSecretSchema).min(1).max(2),
});
export type WebhookEndpoint = z.infer<typeof WebhookEndpointSchema>;
