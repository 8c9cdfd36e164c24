import { z } from "zod";
import { ignore, invalid, type ObjectEvent, oneEvent, type Parsed, s3Event, sequencerOf } from "./object-event.ts";
import { fieldOf } from "./s3-records.ts";

const EntrySchema = z.looseObject({
  name: z.string().min(1).max(4096),
  is_directory: z.boolean().nullish(),
  attributes: z
    .looseObject({
      file_size: z.number().nonnegative().nullish(),
      /** In seconds since 1970. */
      mtime: z.number().nonnegative().nullish(),
      mtime_ns: z.number().nonnegative().nullish(),
      /** In base64. */
      md5: z.string().max(100).nullish(),
    })
    .nullish(),
  /** The values are in base64. */
  extended: z.record(z.string(), z.string().nullish()).nullish(),
});
type Entry = z.infer<typeof EntrySchema>;

/** The webhook of a SeaweedFS filer: the change of one entry. A change of a file has both entries. */
const FilerEventSchema = z.looseObject({
  /** The path of the entry before the change. */
  key: z.string().min(1).max(8192),
  event_type: z.string().max(100),
  message: z.looseObject({
    old_entry: EntrySchema.nullish(),
    new_entry: EntrySchema.nullish(),
    /** The folder of the entry after the change. */
    new_parent_path: z.string().max(8192).nullish(),
  }),
});

const VERSION_ID = "Seaweed-X-Amz-Version-Id";
const ETAG = "Seaweed-X-Amz-ETag";
const DELETE_MARKER = "Seaweed-X-Amz-Delete-Marker";
const NANOSECONDS = 1_000_000_000n;

/** @param body an object with `event_type` and `message` @throws LabelmillError EVENT_INVALID */
export function parseSeaweedFs(body: unknown): Parsed {
  const parsed = FilerEventSchema.safeParse(body);
  if (!parsed.success) throw invalid(`expected an event of a SeaweedFS filer: ${fieldOf(parsed.error)}`);
  const { key: path, event_type: name, message } = parsed.data;
  const { new_entry: created, old_entry: removed, new_parent_path: folder } = message;
  const entry = created ?? removed;
  if (!entry) return ignore("a SeaweedFS event without an entry");
  if (entry.is_directory) return ignore("a folder of SeaweedFS");
  const place = placeOf(created && folder ? `${folder.replace(/\/$/, "")}/${created.name}` : path);
  if (typeof place === "string") return ignore(place);
  const version = { versionId: extended(entry, VERSION_ID) ?? place.versionId, etag: etagOf(entry) };
  const kind = kindOf(created);
  const { file_size: size } = entry.attributes ?? {};
  const { bucket, key } = place;
  return oneEvent(s3Event({ kind, name, bucket, key, size, ...version, sequencer: changeOf(entry) }));
}

function kindOf(created: Entry | null | undefined): ObjectEvent["kind"] {
  return created && extended(created, DELETE_MARKER) !== "true" ? "created" : "removed";
}

/** @returns the object on S3, or why the path is not that of an object */
function placeOf(path: string): { bucket: string; key: string; versionId?: string } | string {
  const [, bucket, key] = /^\/buckets\/([^/]+)\/(.+)$/s.exec(path) ?? [];
  if (bucket === undefined || key === undefined) return "a file of SeaweedFS outside of /buckets/";
  if (/^\.uploads\//.test(key)) return "a piece of an unfinished upload to SeaweedFS";
  // The versions of an object are files beside it: KEY.versions/v_VERSION.
  const [, object, version] = /^(.+?)\/?\.versions\/(?:v_)?([^/]+)$/s.exec(key) ?? [];
  return object !== undefined && version !== undefined ? { bucket, key: object, versionId: version } : { bucket, key };
}

/** The S3 gateway stores an ETag for uploads in parts and for versions. For others it is the MD5. */
function etagOf(entry: Entry): string | undefined {
  const { md5 } = entry.attributes ?? {};
  return extended(entry, ETAG) ?? (md5 ? Buffer.from(md5, "base64").toString("hex") : undefined);
}

function extended({ extended: values }: Entry, name: string): string | undefined {
  const value = values?.[name];
  return value ? Buffer.from(value, "base64").toString() : undefined;
}

/** The time of the change orders the events of an object. */
function changeOf({ attributes }: Entry): string | undefined {
  const { mtime, mtime_ns: nanoseconds } = attributes ?? {};
  if (!mtime) return undefined;
  return sequencerOf(BigInt(Math.trunc(mtime)) * NANOSECONDS + BigInt(Math.trunc(nanoseconds ?? 0)));
}
