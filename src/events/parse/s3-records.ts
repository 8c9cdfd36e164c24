import { z } from "zod";
import { decodeKey, invalid, type ObjectEvent, type Parsed, s3Event } from "./object-event.ts";

/**
 * A record of an S3 event notification, also as MinIO, RustFS and Ceph send it. New minor versions add fields, so
 * unknown fields are allowed.
 */
const S3RecordSchema = z.looseObject({
  eventVersion: z.string().regex(/^2\.\d+$/, "2.x"),
  eventName: z.string().min(1).max(200),
  eventTime: z.string().max(100).nullish(),
  s3: z.looseObject({
    bucket: z.looseObject({ name: z.string().min(1).max(255) }),
    object: z.looseObject({
      /** In the encoding of forms. */
      key: z.string().min(1).max(4096),
      size: z.number().nonnegative().nullish(),
      eTag: z.string().max(1024).nullish(),
      versionId: z.string().max(1024).nullish(),
      sequencer: z.string().max(128).nullish(),
    }),
  }),
});

/** MinIO reports changes of tags and locks with the names of created objects. */
const METADATA_CHANGES = new Set(["PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold", "PutAcl"]);

/** @param body an object with `Records` @throws LabelmillError EVENT_INVALID */
export function parseS3Records(body: { Records: unknown }): Parsed {
  const records = z.array(z.unknown()).safeParse(body.Records);
  if (!records.success) throw invalid("Records: expected an array of S3 event records");
  return { events: records.data.map(parseS3Record), ignored: [] };
}

/** @throws LabelmillError EVENT_INVALID */
export function parseS3Record(record: unknown): ObjectEvent {
  const parsed = S3RecordSchema.safeParse(record);
  if (!parsed.success) throw invalid(`expected an S3 event record of version 2: ${fieldOf(parsed.error)}`);
  const { eventName, eventTime, s3 } = parsed.data;
  const name = eventName.replace(/^s3:/, "");
  const { key, size, eTag: etag, versionId, sequencer } = s3.object;
  const version = { size, etag, versionId, sequencer, time: eventTime };
  return s3Event({ kind: kindOf(name), name, bucket: s3.bucket.name, key: decodeKey(key), ...version });
}

function kindOf(name: string): ObjectEvent["kind"] {
  const [type, action = ""] = name.split(":");
  if (type === "ObjectRemoved" || type === "LifecycleExpiration") return "removed";
  return type === "ObjectCreated" && !METADATA_CHANGES.has(action) ? "created" : "other";
}

/** The place and the reason of the first violation of a schema. Values are not shown. */
export function fieldOf(error: z.ZodError): string {
  const { path, message } = error.issues[0]!;
  return `${path.join(".") || "the message"}: ${message}`;
}
