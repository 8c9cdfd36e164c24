import { LabelmillError } from "../../errors.ts";
import { s3Code, s3Status } from "./error.ts";
import { etagIn, quotedEtag } from "./found.ts";
import type { RequestS3 } from "./upload.ts";
import type { S3Place } from "./uri.ts";

/** `etag`: of the written object; undefined if the server refused the condition. `tries`: how many requests it took. */
export type ConditionalWrite = { etag: string | undefined; tries: number };

/** Writes if the object has this ETag or, with null, if it does not exist, on a server that supports `If-Match` and `If-None-Match`. */
export async function putIf(
  request: RequestS3,
  { bucket, key }: S3Place,
  etag: string | null,
  body: Uint8Array,
): Promise<ConditionalWrite> {
  const condition = etag === null ? { IfNoneMatch: "*" } : { IfMatch: quotedEtag(etag) };
  let tries = 0;
  try {
    const { ETag } = await request("write", ({ sdk, client }) => {
      tries += 1;
      return client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ...condition }));
    });
    return { etag: etagIn(ETag), tries };
  } catch (error) {
    if (!(error instanceof LabelmillError)) throw error;
    // With If-Match, a missing object is not the one to replace.
    const isMissing = etag !== null && s3Code(error.cause) === "NoSuchKey";
    if (isMissing || s3Status(error.cause) === 412) return { etag: undefined, tries };
    throw error;
  }
}
