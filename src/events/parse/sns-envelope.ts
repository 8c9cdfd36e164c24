import { z } from "zod";
import { invalid } from "./object-event.ts";
import { fieldOf } from "./s3-records.ts";

const common = {
  MessageId: z.string().min(1).max(200),
  TopicArn: z
    .string()
    .regex(/^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$/, "the ARN of a topic"),
  Message: z.string(),
  Timestamp: z.iso.datetime(),
  // Missing ones are no invalid form: such a message is unsigned, and refused as that.
  SignatureVersion: z.string().max(10).optional(),
  /** In base64. */
  Signature: z.string().max(4096).optional(),
  SigningCertURL: z.string().max(2048).optional(),
};
const handshake = { ...common, Token: z.string().min(1).max(4096), SubscribeURL: z.string().min(1).max(4096) };

/** A message of Amazon SNS as it is sent to HTTP endpoints and SQS queues without raw delivery. */
const SnsEnvelopeSchema = z.discriminatedUnion("Type", [
  z.looseObject({ Type: z.literal("Notification"), ...common, Subject: z.string().nullish() }),
  z.looseObject({ Type: z.literal("SubscriptionConfirmation"), ...handshake }),
  z.looseObject({ Type: z.literal("UnsubscribeConfirmation"), ...handshake }),
]);
export type SnsEnvelope = z.infer<typeof SnsEnvelopeSchema>;

/** Whether a message claims to be of SNS. Only such a message has these two fields. */
export function isSnsEnvelope(body: unknown): boolean {
  return typeof body === "object" && body !== null && "Type" in body && "TopicArn" in body;
}

/** @throws LabelmillError EVENT_INVALID */
export function parseSnsEnvelope(body: unknown): SnsEnvelope {
  const parsed = SnsEnvelopeSchema.safeParse(body);
  if (!parsed.success) throw invalid(`expected a message of SNS: ${fieldOf(parsed.error)}`);
  return parsed.data;
}
