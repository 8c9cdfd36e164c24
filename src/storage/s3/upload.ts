import type { S3Client } from "./client.ts";
import { type S3Asked, s3Code } from "./error.ts";
import type { S3Place } from "./uri.ts";

/** S3 takes pieces of an upload of 5 MB and more, 10,000 at most: this makes 80 GB. One is held in memory at a time. */
export const PIECE_BYTES = 8 << 20;

/** Makes a request, again and again if need be. */
export type AskS3 = <T>(doing: S3Asked["doing"], request: (opened: S3Client) => Promise<T>) => Promise<T>;

/**
 * One object from many pieces, each sent when it is there. It stands when all of them do; what breaks off leaves nothing but
 * pieces of no object, removed here, or, after a kill, by the bucket's own rule (AbortIncompleteMultipartUpload).
 * @param size that of the object that stands there now
 */
export async function uploadPieces(
  { ask, size }: { ask: AskS3; size: () => Promise<number> },
  { bucket, key }: S3Place,
  first: Buffer,
  rest: AsyncIterable<Buffer>,
): Promise<void> {
  const asked = { Bucket: bucket, Key: key };
  const { UploadId } = await ask("write", async ({ sdk, client }) => {
    const sums = (await client.config.requestChecksumCalculation()) === "WHEN_SUPPORTED";
    const algorithm = sums ? ({ ChecksumAlgorithm: "CRC32" } as const) : {};
    return client.send(new sdk.CreateMultipartUploadCommand({ ...asked, ...algorithm }));
  });
  const upload = { ...asked, UploadId };
  try {
    const parts: { PartNumber: number; ETag?: string; ChecksumCRC32?: string }[] = [];
    let sent = 0;
    const send = async (piece: Buffer) => {
      const PartNumber = parts.length + 1;
      const { ETag, ChecksumCRC32 } = await ask("write", ({ sdk, client }) =>
        client.send(new sdk.UploadPartCommand({ ...upload, PartNumber, Body: piece })),
      );
      parts.push({ PartNumber, ETag, ChecksumCRC32 });
      sent += piece.length;
    };
    await send(first);
    for await (const piece of rest) await send(piece);
    await ask("write", ({ sdk, client }) =>
      client.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } })),
    ).catch(async (error) => {
      // The answer to a try that succeeded may have been lost.
      if (s3Code(error.cause) !== "NoSuchUpload" || (await size()) !== sent) throw error;
    });
  } catch (error) {
    await ask("delete", ({ sdk, client }) => client.send(new sdk.AbortMultipartUploadCommand(upload))).catch(() => {});
    throw error;
  }
}

/** Pieces of PIECE_BYTES; the last may be shorter. The bytes are copied: whoever gives them may use theirs again. */
export async function* inPieces(body: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let gathered: Buffer[] = [];
  let size = 0;
  for await (const bytes of body) {
    for (let at = 0; at < bytes.length; ) {
      const some = Buffer.from(bytes.subarray(at, at + PIECE_BYTES - size));
      gathered.push(some);
      size += some.length;
      at += some.length;
      if (size < PIECE_BYTES) continue;
      yield Buffer.concat(gathered);
      gathered = [];
      size = 0;
    }
  }
  if (size > 0) yield Buffer.concat(gathered);
}
