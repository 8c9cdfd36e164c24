import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import { HttpFetcher } from "../fetch/http.ts";
import { DEFAULT_LIMITS } from "../fetch/limits.ts";
import type { Logger } from "../logger.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { BucketEvents } from "./bucket-events.ts";
import { EventHandler, type EventSink } from "./handle-events.ts";
import { RedisReplays } from "./replays.ts";
import { type RuleContext, RuleSet } from "./rules.ts";
import { Sns, type SnsOptions } from "./sns.ts";

/** SNS answers with a certificate or a short document, without redirects. */
const SNS_LIMITS = { ...DEFAULT_LIMITS, maxBytes: 100_000, timeoutMs: 10_000, maxRedirects: 0 };

export type EventsOptions = {
  config: Config;
  log: Logger;
  redis: Redis;
  s3: S3;
  /** The secret of the server. */
  secret: string;
  /** The URIs of the stores of the server, whose objects are never labeled: its output, and its state. */
  stores: readonly string[];
  /** A declared model by its name. */
  model: RuleContext["model"];
  /** Checks the webhooks of rules. */
  checkTargets: RuleContext["checkTargets"];
  sink: EventSink;
  /** Fetches a document of SNS. Default: through the guard. */
  fetchSns?: SnsOptions["fetch"];
};

/**
 * Opens what receives events, with the rules and topics of the settings.
 * @param opening closes it
 * @throws LabelmillError CONFIG_INVALID for a rule that cannot work
 */
export function openBucketEvents(options: EventsOptions, opening: AsyncDisposableStack): BucketEvents {
  const { config, log, redis, s3, secret, stores, model, checkTargets, sink } = options;
  const rules = new RuleSet(config.rules, { stores, model, checkTargets });
  const http = new HttpFetcher({ allowPrivate: config.allowPrivate, limits: SNS_LIMITS });
  opening.defer(() => http.close());
  const never = new AbortController().signal;
  const sns = new Sns({
    topics: config.snsTopics,
    fetch: options.fetchSns ?? ((url) => http.get(url, { what: "a document of SNS" }, never)),
    replays: new RedisReplays(redis),
  });
  const handler = new EventHandler({ rules, secret, sink, s3, log });
  return new BucketEvents({ handler, sns, models: rules.rules.map(({ pin }) => pin), log });
}
