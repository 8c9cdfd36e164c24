/** `size` in bytes; `etag` without its quotes; `versionId` only in a bucket with versions. */
export type S3Found = { size: number; etag: string; modifiedAt: Date; versionId?: string };

/** The metadata of an object, from an answer. */
export function foundOf(answer: {
  ContentLength?: number;
  ETag?: string;
  LastModified?: Date;
  VersionId?: string;
}): S3Found {
  return {
    size: answer.ContentLength ?? 0,
    etag: etagIn(answer.ETag),
    modifiedAt: answer.LastModified ?? new Date(0),
    ...(answer.VersionId === undefined ? {} : { versionId: answer.VersionId }),
  };
}

/** An ETag as a header has it. */
export function quotedEtag(etag: string): string {
  return etag.startsWith("W/") ? etag : `"${etag}"`;
}

/** The ETag in a header, without its quotes. Empty if the server sent none. */
export function etagIn(header: string | undefined): string {
  return (header ?? "").replace(/^"(.*)"$/, "$1");
}
