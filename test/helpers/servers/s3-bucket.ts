import { after } from "node:test";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { startTestS3, type TestS3 } from "./s3-server.ts";

/** Starts a server and makes a bucket for a test file. The server stops after the file's last test. */
export async function openTestBucket(): Promise<{ server: TestS3; s3: S3; bucket: string }> {
  const server = await startTestS3();
  const s3 = new S3(server.settings, { tries: 2, delayMs: 1 });
  after(async () => {
    s3.close();
    await server[Symbol.asyncDispose]();
  });
  return { server, s3, bucket: await server.makeBucket() };
}
