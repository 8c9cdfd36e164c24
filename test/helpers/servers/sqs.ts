import { randomBytes } from "node:crypto";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { moto } from "./s3-choice.ts";
import { KEYS, startMoto } from "./s3-server.ts";

/** An SQS server for the tests of one process: moto. The SDK finds its keys in the environment of the process. */
export type TestSqs = AsyncDisposable & {
  endpoint: string;
  /** The environment that a child process needs to use the server. */
  env: Record<string, string>;
  /** Makes a queue with a random name. @returns its URL */
  makeQueue(attributes?: Record<string, string>): Promise<string>;
  arnOf(queue: string): Promise<string>;
  send(queue: string, body: string): Promise<void>;
  sendAll(queue: string, bodies: readonly string[]): Promise<void>;
  /** Makes a bucket with a random name in the S3 server of moto. @returns the name */
  makeBucket(): Promise<string>;
  /** The messages that are visible, and those that are hidden. */
  count(queue: string): Promise<{ visible: number; hidden: number }>;
};

const REGION = "us-east-1";
/** The most messages of one request. */
const BATCH = 10;

/** @returns undefined if moto cannot be installed */
export async function startSqs(): Promise<TestSqs | undefined> {
  const choice = await moto((line) => process.stderr.write(`${line}\n`));
  if (choice?.kind !== "moto") return undefined;
  Object.assign(process.env, {
    ...{ AWS_REGION: REGION, ...process.env, ...KEYS, AWS_EC2_METADATA_DISABLED: "true" },
    ...{ AWS_CONFIG_FILE: "/dev/null", AWS_SHARED_CREDENTIALS_FILE: "/dev/null" },
  });
  const server = await startMoto(choice.program);
  const client = new SQSClient({ endpoint: server.endpoint, region: REGION, credentials: credentialsOf() });
  const attribute = async (queue: string, names: ("QueueArn" | "All")[]) => {
    const { Attributes = {} } = await client.send(
      new GetQueueAttributesCommand({ QueueUrl: queue, AttributeNames: names }),
    );
    return Attributes as Record<string, string | undefined>;
  };
  return {
    endpoint: server.endpoint,
    env: {
      ...{ ...KEYS, AWS_REGION: REGION, AWS_EC2_METADATA_DISABLED: "true" },
      ...{ AWS_CONFIG_FILE: "/dev/null", AWS_SHARED_CREDENTIALS_FILE: "/dev/null" },
    },
    async makeQueue(Attributes = {}) {
      const QueueName = `labelmill-test-${randomBytes(8).toString("hex")}`;
      return (await client.send(new CreateQueueCommand({ QueueName, Attributes }))).QueueUrl!;
    },
    async arnOf(queue) {
      return (await attribute(queue, ["QueueArn"])).QueueArn!;
    },
    async send(queue, body) {
      await client.send(new SendMessageCommand({ QueueUrl: queue, MessageBody: body }));
    },
    async sendAll(queue, bodies) {
      for (let at = 0; at < bodies.length; at += BATCH) {
        const Entries = bodies.slice(at, at + BATCH).map((MessageBody, i) => ({ Id: String(i), MessageBody }));
        await client.send(new SendMessageBatchCommand({ QueueUrl: queue, Entries }));
      }
    },
    async makeBucket() {
      const name = `labelmill-test-${randomBytes(8).toString("hex")}`;
      const s3 = new S3Client({ endpoint: server.endpoint, region: REGION, forcePathStyle: true });
      await s3.send(new CreateBucketCommand({ Bucket: name }));
      s3.destroy();
      return name;
    },
    async count(queue) {
      const all = await attribute(queue, ["All"]);
      const visible = Number(all.ApproximateNumberOfMessages);
      return { visible, hidden: Number(all.ApproximateNumberOfMessagesNotVisible) };
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await server.stop();
    },
  };
}

function credentialsOf() {
  return { accessKeyId: KEYS.AWS_ACCESS_KEY_ID, secretAccessKey: KEYS.AWS_SECRET_ACCESS_KEY };
}
