import { verify, X509Certificate } from "node:crypto";
import pLimit from "p-limit";
import { LabelmillError, messageOf } from "../errors.ts";
import type { SnsEnvelope } from "./parse/sns-envelope.ts";

/** SNS retries a delivery for at most one hour. */
const MAX_AGE_MS = 65 * 60_000;
/** How far the clock of SNS may be ahead of ours. */
const MAX_SKEW_MS = 5 * 60_000;
/** How long a message is remembered, so that it is too old when it is forgotten. */
const REMEMBER_MS = MAX_AGE_MS + MAX_SKEW_MS;
const MAX_CERTIFICATES = 100;
const MAX_REFUSED = 1000;
/** Fetches at a time, and those that wait. Callers without a key can cause them. */
const MAX_FETCHES = 4;
const MAX_WAITING = 20;

const DIGESTS: Record<string, string> = { "1": "RSA-SHA1", "2": "RSA-SHA256" };

export type SnsOptions = {
  /** The ARNs of the topics whose messages are accepted. */
  topics: readonly string[];
  /** The body of a 2xx answer. The URL is one of SNS: https, its host pinned. */
  fetch(url: URL): Promise<Uint8Array>;
  replays: Replays;
  /** In ms since 1970. Default: the clock of this machine. */
  now?: () => number;
};

/** The messages that were received. */
export interface Replays {
  has(id: string): Promise<boolean>;
  add(id: string, forMs: number): Promise<void>;
}

/** Checks that messages are from the configured topics of Amazon SNS, and confirms their subscriptions. */
export class Sns {
  readonly #options: SnsOptions;
  readonly #now: () => number;
  readonly #certificates = new Map<string, Promise<X509Certificate>>();
  /** Addresses without a certificate. They are apart, so that a caller who invents addresses drops no certificate. */
  readonly #refused = new Map<string, LabelmillError>();
  readonly #limit = pLimit(MAX_FETCHES);

  constructor(options: SnsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Checks the topic and the signature.
   *
   * @throws LabelmillError EVENT_UNSIGNED, FETCH_UNAVAILABLE (the certificate cannot be fetched now)
   */
  async verify(envelope: SnsEnvelope): Promise<void> {
    const { TopicArn: topic, SignatureVersion: version = "", Signature: signature, SigningCertURL: from } = envelope;
    if (!this.#options.topics.includes(topic)) throw unsigned("a topic of snsTopics", "another topic");
    const digest = DIGESTS[version];
    if (digest === undefined || !signature || !from) throw unsigned("a signature of version 1 or 2", "none");
    const certificate = await this.#certificate(certificateUrl(from, topic));
    const sent = Date.parse(envelope.Timestamp);
    if (sent < certificate.validFromDate.getTime() || sent > certificate.validToDate.getTime())
      throw unsigned("a certificate that is valid at the time of the message", "one that is not");
    const signed = Buffer.from(stringToSign(envelope));
    const { publicKey } = certificate;
    const isRight =
      publicKey.asymmetricKeyType === "rsa" && verify(digest, signed, publicKey, Buffer.from(signature, "base64"));
    if (!isRight) throw unsigned("the signature of SNS", "another signature");
  }

  /** @throws LabelmillError EVENT_REPLAYED for a message that is too old, from the future, or was accepted before */
  async checkFresh(envelope: SnsEnvelope): Promise<void> {
    const age = this.#now() - Date.parse(envelope.Timestamp);
    if (age > MAX_AGE_MS || age < -MAX_SKEW_MS) {
      const minutes = Math.round(age / 60_000);
      throw replayed(
        `expected a message that was sent in the last ${MAX_AGE_MS / 60_000} minutes, got one of ${minutes} minutes ago`,
      );
    }
    if (await this.#options.replays.has(idOf(envelope)))
      throw replayed("expected a new message, got one that was accepted before");
  }

  /** Remembers an accepted message. A message that was not accepted may come again. */
  async remember(envelope: SnsEnvelope): Promise<void> {
    await this.#options.replays.add(idOf(envelope), REMEMBER_MS);
  }

  /**
   * Confirms a subscription. The message must be verified.
   *
   * @throws LabelmillError EVENT_UNSIGNED for a URL that confirms something else, FETCH_UNAVAILABLE
   */
  async confirm(envelope: Extract<SnsEnvelope, { Type: "SubscriptionConfirmation" }>): Promise<void> {
    const { TopicArn: topic, SubscribeURL: address, Token: token } = envelope;
    const url = URL.parse(address);
    const query = url?.searchParams;
    const isConfirmation =
      url?.origin === originOf(topic) &&
      url.pathname === "/" &&
      query?.get("Action") === "ConfirmSubscription" &&
      query.get("TopicArn") === topic &&
      query.get("Token") === token;
    if (!isConfirmation) throw unsigned(`a SubscribeURL of ${originOf(topic)} for this topic`, "another URL");
    await this.#fetch(url);
  }

  async #certificate({ href }: URL): Promise<X509Certificate> {
    const refusal = this.#refused.get(href);
    if (refusal) throw refusal;
    const known = this.#certificates.get(href) ?? this.#fetchCertificate(href);
    keep(this.#certificates, href, known, MAX_CERTIFICATES);
    try {
      return await known;
    } catch (error) {
      this.#certificates.delete(href);
      if (error instanceof LabelmillError && !error.retryable) keep(this.#refused, href, error, MAX_REFUSED);
      throw error;
    }
  }

  async #fetchCertificate(href: string): Promise<X509Certificate> {
    if (this.#limit.pendingCount >= MAX_WAITING)
      throw new LabelmillError(
        "FETCH_UNAVAILABLE",
        "too many certificates of SNS are requested at a time; try it later",
      );
    return parseCertificate(await this.#limit(() => this.#fetch(new URL(href))));
  }

  async #fetch(url: URL): Promise<Uint8Array> {
    try {
      return await this.#options.fetch(url);
    } catch (error) {
      if (error instanceof LabelmillError && !error.retryable)
        throw unsigned(`an answer of ${url.host}`, error.code, error);
      const message = `expected an answer of ${url.host}, got ${messageOf(error)}; try it later`;
      throw new LabelmillError("FETCH_UNAVAILABLE", message, { cause: error });
    }
  }
}

/** Sets an entry as the newest, and removes the oldest one above the limit. */
function keep<V>(entries: Map<string, V>, key: string, value: V, max: number): void {
  entries.delete(key);
  entries.set(key, value);
  const [oldest] = entries.keys();
  if (entries.size > max) entries.delete(oldest!);
}

/** The origin of SNS for a topic: its region and partition are in the ARN, and not chosen by the sender. */
function originOf(topic: string): string {
  const [, partition, , region] = topic.split(":");
  return `https://sns.${region}.amazonaws.com${partition === "aws-cn" ? ".cn" : ""}`;
}

function certificateUrl(from: string, topic: string): URL {
  const url = URL.parse(from);
  const isCertificate =
    url?.origin === originOf(topic) && /^\/SimpleNotificationService-[0-9a-f]{1,64}\.pem$/.test(url.pathname);
  if (!isCertificate || url.search !== "" || url.username !== "" || url.password !== "")
    throw unsigned(`a certificate of ${originOf(topic)}`, "one of another address");
  return url;
}

function parseCertificate(pem: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw unsigned("a certificate in PEM form", "something else", error);
  }
}

/** The signed fields in the order of the documentation of SNS: each name and value on its own line. */
function stringToSign(envelope: SnsEnvelope): string {
  const fields =
    envelope.Type === "Notification"
      ? { Message: envelope.Message, MessageId: envelope.MessageId, Subject: envelope.Subject }
      : { Message: envelope.Message, MessageId: envelope.MessageId, SubscribeURL: envelope.SubscribeURL };
  const { Timestamp, TopicArn, Type } = envelope;
  const token = envelope.Type === "Notification" ? {} : { Token: envelope.Token };
  return Object.entries({ ...fields, Timestamp, ...token, TopicArn, Type })
    .flatMap(([name, value]) => (value == null ? [] : [`${name}\n${value}\n`]))
    .join("");
}

function idOf({ TopicArn, MessageId }: SnsEnvelope): string {
  return `${TopicArn} ${MessageId}`;
}

function unsigned(expected: string, got: string, cause?: unknown): LabelmillError {
  return new LabelmillError("EVENT_UNSIGNED", `message of SNS: expected ${expected}, got ${got}`, { cause });
}

function replayed(message: string): LabelmillError {
  return new LabelmillError("EVENT_REPLAYED", `message of SNS: ${message}`);
}
