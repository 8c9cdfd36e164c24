import { z } from "zod";

export const WebhookTargetSchema = z
  .strictObject({
    to: z.literal("webhook"),
    /** The name of an endpoint in the settings of the server. */
    endpoint: z.string().min(1).max(64).optional(),
    /** An `https:` or `http:` URL. */
    url: z
      .url({ protocol: /^https?$/ })
      .max(2048)
      .optional(),
  })
  .refine(({ endpoint, url }) => (endpoint === undefined) !== (url === undefined), {
    message: "expected either endpoint or url",
  });
export type WebhookTarget = z.infer<typeof WebhookTargetSchema>;

/**
 * Where results go, besides the part and the results queue.
 *
 * - `sidecar`: `KEY.labels.json` beside the labeled object.
 * - `tags`: the tags `labelmill-label` and `labelmill-score` of the labeled object.
 * - `webhook`: a signed request to a declared endpoint (`endpoint`) or to a URL (`url`).
 */
export const ResultTargetSchema = z.discriminatedUnion("to", [
  z.strictObject({ to: z.literal("sidecar") }),
  z.strictObject({ to: z.literal("tags") }),
  WebhookTargetSchema,
]);
export type ResultTarget = z.infer<typeof ResultTargetSchema>;

/** The targets of a submission, each at most once. */
export const ResultTargetsSchema = z.array(ResultTargetSchema).max(10);
