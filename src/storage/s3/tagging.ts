import type { RequestS3 } from "./upload.ts";
import type { S3Place } from "./uri.ts";

/** The tags of an object, by name. */
export type S3Tags = ReadonlyMap<string, string>;

/** The tags of an object, or of one version of it. */
export async function readTags(request: RequestS3, at: S3Place, versionId?: string): Promise<S3Tags> {
  const { TagSet = [] } = await request("read", ({ sdk, client }) =>
    client.send(new sdk.GetObjectTaggingCommand(targetOf(at, versionId))),
  );
  return new Map(TagSet.map(({ Key = "", Value = "" }) => [Key, Value]));
}

/** Replaces all tags of an object, or of one version of it. */
export async function writeTags(request: RequestS3, at: S3Place, tags: S3Tags, versionId?: string): Promise<void> {
  const TagSet = [...tags].map(([Key, Value]) => ({ Key, Value }));
  await request("write", ({ sdk, client }) =>
    client.send(new sdk.PutObjectTaggingCommand({ ...targetOf(at, versionId), Tagging: { TagSet } })),
  );
}

function targetOf({ bucket, key }: S3Place, versionId: string | undefined) {
  return { Bucket: bucket, Key: key, ...(versionId === undefined ? {} : { VersionId: versionId }) };
}
