import { z } from "zod";
import { ignore, invalid, type ObjectEvent, objectEvent, oneEvent, type Parsed } from "./object-event.ts";
import { fieldOf } from "./s3-records.ts";

/** The data of an event of Azure Blob Storage. */
const AzureBlobSchema = z.looseObject({
  api: z.string().max(100).nullish(),
  url: z.url({ protocol: /^https$/ }).max(8192),
  eTag: z.string().max(1024).nullish(),
  contentLength: z.number().nonnegative().nullish(),
  sequencer: z.string().max(128).nullish(),
});

const KINDS: Record<string, ObjectEvent["kind"]> = { BlobCreated: "created", BlobDeleted: "removed" };

/**
 * The event of a blob of Azure. Workers read it from its `https:` URL, so the blob must be readable without a key.
 * @throws LabelmillError EVENT_INVALID
 */
export function parseAzureBlob({
  type,
  data,
  time,
}: {
  type: string;
  data?: unknown;
  time?: string | null | undefined;
}): Parsed {
  const name = type.slice(type.lastIndexOf(".") + 1);
  const kind = KINDS[name];
  if (kind === undefined) return ignore("an event of Azure that creates no blob");
  const parsed = AzureBlobSchema.safeParse(data);
  if (!parsed.success) throw invalid(`data: expected a blob of Azure: ${fieldOf(parsed.error)}`);
  const { api, url, eTag: etag, contentLength: size, sequencer } = parsed.data;
  // A file of a hierarchical namespace is empty until its FlushWithClose.
  if (api === "CreateFile") return ignore("an empty file of Azure before its content is written");
  const { host, pathname, username, password } = new URL(url);
  const [, container, path] = /^\/([^/]+)\/(.+)$/s.exec(pathname) ?? [];
  if (container === undefined || path === undefined || username !== "" || password !== "")
    throw invalid("data.url: expected https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB");
  const key = decode(path);
  const uri = `https://${host}${pathname}`;
  return oneEvent(objectEvent({ kind, name, bucket: `${host}/${container}`, key, size, etag, sequencer, time }, uri));
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw invalid("data.url: expected a URL with valid escapes");
  }
}
