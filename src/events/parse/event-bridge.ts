import { z } from "zod";
import { ignore, invalid, type ObjectEvent, oneEvent, type Parsed, s3Event } from "./object-event.ts";
import { fieldOf } from "./s3-records.ts";

/** An event of S3 as Amazon EventBridge delivers it. */
const EventBridgeSchema = z.looseObject({
  "detail-type": z.string().max(200),
  time: z.string().max(100).nullish(),
  detail: z.looseObject({
    bucket: z.looseObject({ name: z.string().min(1).max(255) }),
    object: z.looseObject({
      /** Not encoded, other than in the notifications of S3. */
      key: z.string().min(1).max(4096),
      size: z.number().nonnegative().nullish(),
      etag: z.string().max(1024).nullish(),
      "version-id": z.string().max(1024).nullish(),
      sequencer: z.string().max(128).nullish(),
    }),
  }),
});

const KINDS: Record<string, ObjectEvent["kind"]> = { "Object Created": "created", "Object Deleted": "removed" };

/** @param body an object with `detail-type` and `source` @throws LabelmillError EVENT_INVALID */
export function parseEventBridge(body: { source?: unknown }): Parsed {
  if (body.source !== "aws.s3") return ignore("an EventBridge event of another service than S3");
  const parsed = EventBridgeSchema.safeParse(body);
  if (!parsed.success) throw invalid(`expected an EventBridge event of S3: ${fieldOf(parsed.error)}`);
  const { "detail-type": name, time, detail } = parsed.data;
  const { key, size, etag, "version-id": versionId, sequencer } = detail.object;
  const kind = KINDS[name] ?? "other";
  return oneEvent(s3Event({ kind, name, bucket: detail.bucket.name, key, size, etag, versionId, sequencer, time }));
}
