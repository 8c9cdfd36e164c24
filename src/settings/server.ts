import { z } from "zod";
import { RuleSchema } from "../schemas/enrichment/rule.ts";
import { WebhookEndpointsSchema, WebhookSecretSchema } from "../schemas/enrichment/webhook.ts";
import { count, duration, flag, list } from "./types.ts";

const port = z.coerce.number().int().min(0).max(65_535);

/** Settings of `labelmill serve` and of the commands beside it. */
export const SERVER_SETTINGS = {
  sharedFiles: flag
    .default(false)
    .describe("Local paths in the specs of `POST /v1/runs` are the same on all workers. Without it, they are refused."),
  host: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address on which `serve` listens. Beyond loopback, every request needs a key."),
  port: port.default(8080).describe("Port on which `serve` listens. 0: a free one."),
  healthHost: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address of the health port. It may be `0.0.0.0`: the answers contain no ids and no content."),
  healthPort: port
    .optional()
    .describe("Port with `/health/live` and `/health/ready`, for `serve` and `worker`. If omitted, it is not opened."),
  state: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Folder or `s3://BUCKET/PREFIX/` with what must outlive Redis: keys and idempotency records. `serve` with its own Redis has a default.",
    ),
  accept: z
    .enum(["store", "redis"])
    .default("store")
    .describe(
      "What keeps an accepted submission until it is done: a journal in the output, or the append-only file of Redis.",
    ),
  bodyLimit: count
    .max(1_000_000_000)
    .default(25_000_000)
    .describe("Most bytes in the body of a request. The texts of one request have at most 1 MB."),
  rateLimit: count.max(100_000_000).default(60_000).describe("Most requests of a key in a minute."),
  maxBacklogSeconds: count
    .max(10_000_000)
    .default(600)
    .describe("Seconds of waiting work above which new items are refused (429)."),
  requestWait: duration
    .refine((wait) => wait <= 100_000, "at most 100s")
    .prefault("30s")
    .describe("How long a request of the Hugging Face protocol waits for its labels. Past this, the answer is 503."),
  keepUploads: z
    .union([z.literal("always"), duration])
    .prefault("7d")
    .describe("How long uploaded images stay after the end of their run: a time such as `7d`, or `always`."),
  bootstrapKeySha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "the SHA-256 of a key, as 64 hexadecimal digits")
    .optional()
    .describe("SHA-256 of a first key with all scopes, besides the keys on record."),
  snsTopics: list(",")
    .default([])
    .describe(
      "ARNs of the SNS topics whose messages are accepted and whose subscriptions are confirmed (separated by commas).",
    ),
  webhookSecrets: z
    .union([z.array(WebhookSecretSchema), z.string().transform((all) => all.split(",").map((each) => each.trim()))])
    .pipe(z.array(WebhookSecretSchema).max(2))
    .default([])
    .describe(
      "Secrets that sign webhooks to URLs that are not declared: `whsec_…`, two while they rotate (separated by a comma). Not a flag.",
    ),
  webhooks: WebhookEndpointsSchema.default([]).describe("Declared webhook endpoints. Only in the JSON file."),
  rules: z.array(RuleSchema).max(1000).default([]).describe("Rules for bucket events. Only in the JSON file."),
};
