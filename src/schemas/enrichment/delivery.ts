import { hash } from "node:crypto";
import { z } from "zod";
import { FailureSchema, MAX_EVENT_ROWS } from "../event.ts";
import { dataRecord } from "../item.ts";
import { DigestSchema, MAX_OUTPUT_LENGTH, RunIdSchema } from "../job.ts";
import { RowSchema } from "../row.ts";
import type { WebhookTarget } from "./target.ts";

/** The body of a webhook: a run has ended. */
export const WebhookEventSchema = z.strictObject({
  type: z.literal("run.ended"),
  /** When the run ended. */
  timestamp: z.iso.datetime(),
  data: z.strictObject({
    run: RunIdSchema,
    state: z.enum(["succeeded", "finished_with_errors", "failed", "cancelled"]),
    /** The URI of the store that has the rows. */
    output: z.string().max(MAX_OUTPUT_LENGTH),
    /** The key of the part of a single in that store. Omitted for a planned run and for a failed single. */
    part: z.string().optional(),
    model: z.strictObject({ id: z.string(), digest: DigestSchema }),
    /** Number of rows, rows with an error included. */
    rows: z.int().nonnegative(),
    /** Number of rows with an error. */
    errors: z.int().nonnegative(),
    /** Number of rows for each best label. */
    labels: dataRecord(z.int().nonnegative()),
    /** The rows of a single that has at most 16. Else omitted. */
    items: z.array(RowSchema).max(MAX_EVENT_ROWS).optional(),
    /** Why the run failed. Omitted in every other state. */
    failed: FailureSchema.optional(),
  }),
});
export type WebhookEvent = z.infer<typeof WebhookEventSchema>;

/** The payload of a job on the webhooks queue: one event for one target. */
export const WebhookDeliverySchema = z.strictObject({
  v: z.literal(1),
  /** Stable over retries, and the same however often the end of the run is delivered. */
  id: z.string().regex(/^msg_[0-9a-f]{32}$/),
  run: RunIdSchema,
  /** Exactly one of the two: the name of an endpoint in the settings of the server, or a URL. */
  target: z
    .strictObject({ endpoint: z.string().min(1).max(64).optional(), url: z.url().max(2048).optional() })
    .refine(({ endpoint, url }) => (endpoint === undefined) !== (url === undefined), {
      message: "expected either endpoint or url",
    }),
  event: WebhookEventSchema,
});
export type WebhookDelivery = z.infer<typeof WebhookDeliverySchema>;

/** The id of the delivery of the end of a run to a target. */
export function webhookDeliveryId(run: string, { endpoint, url }: Pick<WebhookTarget, "endpoint" | "url">): string {
  return `msg_${hash("sha256", JSON.stringify([run, endpoint ?? null, url ?? null])).slice(0, 32)}`;
}

/** The delivery of an event to a webhook target. */
export function webhookDelivery(event: WebhookEvent, { endpoint, url }: WebhookTarget): WebhookDelivery {
  const { run } = event.data;
  const target = endpoint === undefined ? { url } : { endpoint };
  return { v: 1, id: webhookDeliveryId(run, target), run, target, event };
}
