import type * as Sdk from "@aws-sdk/client-sqs";
import { LabelmillError, messageOf } from "../../errors.ts";

/** A received message, which other consumers do not see until its visibility ends. */
export type QueueMessage = {
  id: string;
  /** What changes or deletes it. */
  receipt: string;
  body: string;
  /** How often it was received, this time included. */
  receives: number;
};

/** A queue whose messages are hidden while they are processed, and come back unless they are deleted. */
export interface MessageQueue {
  /** Waits for messages, up to 20 seconds. Empty if none came. @throws LabelmillError QUEUE_FAILED; ABORTED by `signal` */
  receive(visibilityS: number, signal: AbortSignal): Promise<QueueMessage[]>;
  /** Hides messages for so long from now. A message that was deleted or came back is passed over. */
  hide(messages: readonly QueueMessage[], seconds: number): Promise<void>;
  delete(message: QueueMessage): Promise<void>;
}

export type SqsOptions = {
  /** Default: the region in the host name of the queue's URL, else as the AWS SDK finds it. */
  region?: string | undefined;
  /** An SQS server that is not Amazon's. Default: the server in the queue's URL. */
  endpoint?: string | undefined;
};

/** The most that SQS gives at once, and the longest wait. */
const MAX_MESSAGES = 10;
const LONG_POLL_S = 20;
/** A request gets an answer in this time beyond its long poll. */
const ANSWER_MS = 10_000;
const CONNECT_MS = 5_000;

/** A queue of Amazon SQS or a compatible server. */
export class SqsQueue implements MessageQueue {
  readonly #sdk: typeof Sdk;
  readonly #client: Sdk.SQSClient;
  readonly #url: string;
  /** Whether the queue moves messages to another one that were received too often. */
  readonly hasRedrive: boolean;

  private constructor(sdk: typeof Sdk, client: Sdk.SQSClient, url: string, hasRedrive: boolean) {
    this.#sdk = sdk;
    this.#client = client;
    this.#url = url;
    this.hasRedrive = hasRedrive;
  }

  /**
   * Opens an existing queue.
   * @throws LabelmillError USAGE for a URL that is none of a queue; QUEUE_FAILED, retryable if SQS may answer later
   */
  static async open(url: string, { region, endpoint }: SqsOptions = {}): Promise<SqsQueue> {
    const at = URL.parse(url);
    if (!at || !/^https?:$/.test(at.protocol) || at.username || at.password || at.pathname.length < 2)
      throw new LabelmillError(
        "USAGE",
        "expected the URL of an SQS queue, such as https://sqs.eu-central-1.amazonaws.com/111122223333/uploads, got another text",
      );
    // Imported here, so that commands without SQS start faster.
    const sdk = await import("@aws-sdk/client-sqs");
    const of = region ?? /(?:^|\.)sqs\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$/.exec(at.hostname)?.[1];
    const client = new sdk.SQSClient({
      ...(of === undefined ? {} : { region: of }),
      endpoint: endpoint ?? at.origin,
      useQueueUrlAsEndpoint: false,
      requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: LONG_POLL_S * 1000 + ANSWER_MS },
    });
    try {
      const command = new sdk.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["RedrivePolicy"] });
      const { Attributes } = await client.send(command);
      return new SqsQueue(sdk, client, url, Attributes?.RedrivePolicy !== undefined);
    } catch (error) {
      client.destroy();
      throw failed(error);
    }
  }

  async receive(visibilityS: number, signal: AbortSignal): Promise<QueueMessage[]> {
    const command = new this.#sdk.ReceiveMessageCommand({
      QueueUrl: this.#url,
      MaxNumberOfMessages: MAX_MESSAGES,
      WaitTimeSeconds: LONG_POLL_S,
      VisibilityTimeout: visibilityS,
      MessageSystemAttributeNames: ["ApproximateReceiveCount"],
    });
    try {
      const { Messages = [] } = await this.#client.send(command, { abortSignal: signal });
      return Messages.map(({ MessageId = "", ReceiptHandle = "", Body = "", Attributes }) => {
        const receives = Number(Attributes?.ApproximateReceiveCount ?? 1);
        return { id: MessageId, receipt: ReceiptHandle, body: Body, receives };
      });
    } catch (error) {
      throw signal.aborted ? new LabelmillError("ABORTED", "the wait was cancelled", { cause: error }) : failed(error);
    }
  }

  async hide(messages: readonly QueueMessage[], seconds: number): Promise<void> {
    if (messages.length === 0) return;
    const command = new this.#sdk.ChangeMessageVisibilityBatchCommand({
      QueueUrl: this.#url,
      Entries: messages.map(({ receipt }, i) => ({
        ...{ Id: String(i), ReceiptHandle: receipt, VisibilityTimeout: seconds },
      })),
    });
    try {
      await this.#client.send(command);
    } catch (error) {
      throw failed(error);
    }
  }

  async delete({ receipt }: QueueMessage): Promise<void> {
    const command = new this.#sdk.DeleteMessageCommand({ QueueUrl: this.#url, ReceiptHandle: receipt });
    try {
      await this.#client.send(command);
    } catch (error) {
      throw failed(error);
    }
  }

  close(): void {
    this.#client.destroy();
  }
}

/** The message has the name that SQS gives its error. Retryable: no answer, a server error, or too many requests. */
function failed(error: unknown): LabelmillError {
  const { name = "", $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  const isRefusal = status !== undefined && status >= 400 && status < 500 && status !== 429 && !/Throttl/i.test(name);
  const isSetup = name === "CredentialsProviderError" || /region is missing/i.test(messageOf(error));
  const reason = `${name || "an error"}: ${messageOf(error)}`;
  const fix = isSetup ? "; set AWS_REGION or --region, and the keys of AWS" : "";
  return new LabelmillError("QUEUE_FAILED", `expected an answer of SQS, got ${reason}${fix}`, {
    cause: error,
    retryable: !isRefusal && !isSetup,
  });
}
