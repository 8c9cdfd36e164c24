import type { S3Client } from "./client.ts";
import { type S3Operation, s3Code } from "./error.ts";
import type { S3Place } from "./uri.ts";

/** S3 accepts at most 10,000 pieces of an upload, of at least 5 MB: these make 80 GB. One is in memory at a time. */
export const PIECE_BYTES = 8 << 20;

/** Sends a request, with retries. */
export type RequestS3 = <T>(doing: S3Operation["doing"], send: (opened: S3Client) => Promise<T>) => Promise<T>;

/**
 * Writes one object in pieces, each sent as soon as it is complete. The object exists when all are sent. A failed upload leaves
 * only pieces without an object. They are removed here or, after a kill, by the bucket's rule AbortIncompleteMultipartUpload.
 * @param size returns the size of the object that exists now
 */
export async function uploadPieces(
  { request, size }: { request: RequestS3; size: () => Promise<number> },
  { bucket, key }: S3Place,
  first: Buffer,
  rest: AsyncIterable<Buffer>,
): Promise<void> {
  const target = { Bucket: bucket, Key: key };
  const { UploadId } = await request("write", async ({ sdk, client }) => {
    const sums = (await client.config.requestChecksumCalculation()) === "WHEN_SUPPORTED";
    const algorithm = sums ? ({ ChecksumAlgorithm: "CRC32" } as const) : {};
    return client.send(new sdk.CreateMultipartUploadCommand({ ...target, ...algorithm }));
  });
  const upload = { ...target, UploadId };
  try {
    const parts: { PartNumber: number; ETag?: string; ChecksumCRC32?: string }[] = [];
    let sent = 0;
    const send = async (piece: Buffer) => {
      const PartNumber = parts.length + 1;
      const { ETag, ChecksumCRC32 } = await request("write", ({ sdk, client }) =>
        client.send(new sdk.UploadPartCommand({ ...upload, PartNumber, Body: piece })),
      );
      parts.push({ PartNumber, ETag, ChecksumCRC32 });
      sent += piece.length;
    };
    await send(first);
    for await (const piece of rest) await send(piece);
    await request("write", ({ sdk, client }) =>
      client.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } })),
    ).catch(async (error) => {
      // The answer to a successful try may have been lost.
      if (s3Code(error.cause) !== "NoSuchUpload" || (await size()) !== sent) throw error;
    });
  } catch (error) {
    await request("delete", ({ sdk, client }) => client.send(new sdk.AbortMultipartUploadCommand(upload))).catch(
      () => {},
    );
    throw error;
  }
}

/** Pieces of PIECE_BYTES; the last may be shorter. The bytes are copied, so that the caller may reuse its buffers. */
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
