import { z } from "zod";

/** A secret of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64, with padding, as its libraries need it. */
export const WebhookSecretSchema = z
  .string()
  .regex(
    /^whsec_(?:(?:[A-Za-z0-9+/]{4}){8,20}(?:[A-Za-z0-9+/]{3}=)?|(?:[A-Za-z0-9+/]{4}){8,21}(?:[A-Za-z0-9+/]{2}==)?)$/,
    "expected a secret: whsec_ and 24 to 64 bytes in base64 with padding",
  );

/** A webhook endpoint that rules and requests refer to by its name. */
const WebhookEndpointSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  url: z.url({ protocol: /^https?$/ }).max(2048),
  /** Two while a secret is rotated: the request has a signature for each. */
  secrets: z.array(WebhookSecretSchema).min(1).max(2),
});

/** Declared endpoints. Their names are unique. */
export const WebhookEndpointsSchema = z
  .array(WebhookEndpointSchema)
  .max(1000)
  .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, "expected each name once");
