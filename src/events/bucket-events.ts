import { LabelmillError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { ModelPin } from "../schemas/run.ts";
import type { EventHandler, Handled } from "./handle-events.ts";
import type { Headers } from "./parse/cloud-events.ts";
import { parseJson, parseMessage, parseText } from "./parse/message.ts";
import { ignore, type Parsed } from "./parse/object-event.ts";
import { isSnsEnvelope, parseSnsEnvelope, type SnsEnvelope } from "./parse/sns-envelope.ts";
import type { Sns } from "./sns.ts";

/** Receives messages with events of buckets, by HTTP and from queues, and labels what they name. */
export class BucketEvents {
  readonly #handler: EventHandler;
  readonly #sns: Sns;
  readonly #log: Logger;

  /** The models of the rules. */
  readonly models: readonly ModelPin[];

  constructor(deps: { handler: EventHandler; sns: Sns; models: readonly ModelPin[]; log: Logger }) {
    this.models = deps.models;
    this.#handler = deps.handler;
    this.#sns = deps.sns;
    this.#log = deps.log;
  }

  /**
   * A request of a caller with a key.
   *
   * @throws LabelmillError EVENT_INVALID, and as `receiveSns` for a message of SNS
   * @throws LabelmillError the failure of a submission, after all of the message were tried
   */
  async receive(body: unknown, headers: Headers): Promise<Handled> {
    return isSnsEnvelope(body) ? this.receiveSns(body) : this.#handler.handle(parseMessage(body, headers));
  }

  /**
   * A request of a caller without a key, which says that it is SNS.
   *
   * @throws LabelmillError EVENT_UNSIGNED, EVENT_REPLAYED, EVENT_INVALID, FETCH_UNAVAILABLE (SNS does not answer), and as `receive`
   */
  async receiveSns(body: unknown): Promise<Handled> {
    if (!isSnsEnvelope(body))
      throw new LabelmillError(
        "EVENT_UNSIGNED",
        "expected a signed message of SNS, got another one: turn raw delivery off, or send a key",
      );
    const envelope = parseSnsEnvelope(body);
    await this.#sns.verify(envelope);
    await this.#sns.checkFresh(envelope);
    const handled = await this.#handler.handle(await this.#open(envelope));
    // Not before: SNS sends a message that was not accepted again.
    await this.#sns.remember(envelope);
    return handled;
  }

  /** A message of a queue. A queue may give it late and often, so its age is not checked. @throws as `receiveSns` */
  async receiveQueued(text: string): Promise<Handled> {
    const body = parseJson(text);
    if (!isSnsEnvelope(body)) return this.#handler.handle(parseMessage(body));
    const envelope = parseSnsEnvelope(body);
    await this.#sns.verify(envelope);
    return this.#handler.handle(await this.#open(envelope));
  }

  /** The events in a verified message. */
  async #open(envelope: SnsEnvelope): Promise<Parsed> {
    switch (envelope.Type) {
      case "Notification":
        return parseText(envelope.Message);
      case "SubscriptionConfirmation":
        await this.#sns.confirm(envelope);
        this.#log.info({ topic: envelope.TopicArn }, "subscription to SNS confirmed");
        return ignore("a confirmed subscription");
      case "UnsubscribeConfirmation":
        this.#log.warn({ topic: envelope.TopicArn }, "SNS ended the subscription");
        return ignore("the end of a subscription");
    }
  }
}
