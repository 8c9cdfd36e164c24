import { randomBytes } from "node:crypto";
import {
  CreateBucketCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";

/** An uploaded object in one version. */
export type Upload = { key: string; versionId?: string; etag: string; sequencer: string };

/** A bucket for uploads. Each upload gives what S3 puts into its event. */
export class UploadBucket {
  readonly name: string;
  readonly #client: S3Client;
  #count = 0;

  private constructor(client: S3Client, name: string) {
    this.#client = client;
    this.name = name;
  }

  /** @param versioned whether the bucket keeps all versions of an object */
  static async make(endpoint: string, versioned = false): Promise<UploadBucket> {
    const client = new S3Client({ endpoint, forcePathStyle: true });
    const Bucket = `labelmill-test-${randomBytes(8).toString("hex")}`;
    await client.send(new CreateBucketCommand({ Bucket }));
    const VersioningConfiguration = { Status: "Enabled" as const };
    if (versioned) await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
    return new UploadBucket(client, Bucket);
  }

  async put(key: string, body: string | Uint8Array): Promise<Upload> {
    const { ETag = "", VersionId } = await this.#client.send(
      new PutObjectCommand({ Bucket: this.name, Key: key, Body: Buffer.from(body) }),
    );
    this.#count += 1;
    return {
      ...{ key, etag: ETag.replaceAll('"', ""), sequencer: this.#count.toString(16).padStart(16, "0").toUpperCase() },
      ...(VersionId ? { versionId: VersionId } : {}),
    };
  }

  async text(key: string): Promise<string> {
    const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: this.name, Key: key }));
    return Body!.transformToString();
  }

  async tags(key: string): Promise<Record<string, string>> {
    const { TagSet = [] } = await this.#client.send(new GetObjectTaggingCommand({ Bucket: this.name, Key: key }));
    return Object.fromEntries(TagSet.map(({ Key = "", Value = "" }) => [Key, Value]));
  }

  /** The notification of S3 for uploads. */
  notification(...uploads: readonly Upload[]) {
    return {
      Records: uploads.map(({ key, versionId, etag: eTag, sequencer }) => ({
        ...{ eventVersion: "2.1", eventSource: "aws:s3", eventName: "ObjectCreated:Put" },
        eventTime: new Date().toISOString(),
        s3: {
          ...{ s3SchemaVersion: "1.0", bucket: { name: this.name } },
          object: { key: encodeURIComponent(key).replaceAll("%20", "+"), versionId, eTag, sequencer },
        },
      })),
    };
  }

  close(): void {
    this.#client.destroy();
  }
}
