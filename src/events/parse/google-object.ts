import { z } from "zod";
import { invalid, type ObjectEvent, s3Event, sequencerOf } from "./object-event.ts";
import { fieldOf } from "./s3-records.ts";

/** An object of Google Cloud Storage. Numbers of 64 bits are texts. */
const GoogleObjectSchema = z.looseObject({
  bucket: z.string().min(1).max(255),
  name: z.string().min(1).max(4096),
  generation: z.union([z.string().regex(/^\d{1,20}$/), z.int().nonnegative()]).nullish(),
  size: z.union([z.string().regex(/^\d{1,20}$/), z.int().nonnegative()]).nullish(),
  /** In base64. Composite objects have none. */
  md5Hash: z.string().max(100).nullish(),
});

const KINDS: Record<string, ObjectEvent["kind"]> = { finalized: "created", deleted: "removed", archived: "removed" };

/**
 * The event of an object of Google Cloud Storage. Workers read it through the S3-compatible endpoint, whose ETag is the MD5.
 * The `etag` of the event is that of another API. @throws LabelmillError EVENT_INVALID
 */
export function parseGoogleObject({
  type,
  data,
  time,
}: {
  type: string;
  data?: unknown;
  time?: string | null | undefined;
}) {
  const parsed = GoogleObjectSchema.safeParse(data);
  if (!parsed.success) throw invalid(`data: expected an object of Google Cloud Storage: ${fieldOf(parsed.error)}`);
  const { bucket, name: key, generation, size, md5Hash } = parsed.data;
  const name = type.slice(type.lastIndexOf(".") + 1);
  return s3Event({
    ...{ kind: KINDS[name] ?? "other", name, bucket, key, time },
    size: size == null ? undefined : Number(size),
    etag: md5Hash ? Buffer.from(md5Hash, "base64").toString("hex") : undefined,
    // Each write has a higher generation.
    sequencer: generation == null ? undefined : sequencerOf(BigInt(generation)),
  });
}
