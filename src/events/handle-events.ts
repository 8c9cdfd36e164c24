import pLimit from "p-limit";
import { LabelmillError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { deriveRunId } from "../producers/accept/run-id.ts";
import type { ObjectVersion } from "../schemas/enrichment/object.ts";
import type { S3 } from "../storage/s3/s3.ts";
import type { ObjectEvent, Parsed } from "./parse/object-event.ts";
import type { EventRule, NoMatch, RuleSet } from "./rules.ts";

/** Submissions of one message at a time. */
const AT_ONCE = 16;

/** An object to label, in one version. */
export type AcceptedObject = {
  /** Follows from the rule, the object and its version. */
  run: string;
  /** The owner of the run. */
  owner: string;
  rule: EventRule;
  uri: string;
  object: ObjectVersion;
};

/**
 * Accepts work. Each method resolves when the work is safe, and does nothing for a run that was accepted before. It returns why an object
 * can never be labeled; undefined if it is accepted.
 */
export interface EventSink {
  /** The object is one item. */
  item(accepted: AcceptedObject): Promise<string | undefined>;
  /** The rows of the object are items. */
  table(accepted: AcceptedObject): Promise<string | undefined>;
}

export type HandlerDeps = {
  rules: RuleSet;
  /** Of the server: ids of runs cannot be guessed without it. */
  secret: string;
  sink: EventSink;
  s3: Pick<S3, "head">;
  log: Logger;
};

/** Why an object with a rule is not labeled: it no longer exists, was replaced, or cannot be identified. */
type NotLabeled = NoMatch | "missing" | "replaced" | "no-version";

/** `ignored`: counts by reason. */
export type Handled = { accepted: number; ignored: Record<string, number> };

/** Labels the objects that events name, each version once. */
export class EventHandler {
  readonly #deps: HandlerDeps;

  constructor(deps: HandlerDeps) {
    this.#deps = deps;
  }

  /**
   * Accepts everything that the events of a message ask for. If a part of it fails, the whole message may come again: what was accepted is
   * not labeled twice.
   *
   * @throws LabelmillError the first failure, after all events were tried
   */
  async handle({ events, ignored }: Parsed): Promise<Handled> {
    const handled: Handled = { accepted: 0, ignored: {} };
    const ignore = (reason: string) => {
      handled.ignored[reason] = (handled.ignored[reason] ?? 0) + 1;
    };
    for (const { reason } of ignored) ignore(reason);
    const limit = pLimit(AT_ONCE);
    const runs = new Set<string>();
    const tried = events.map((event) =>
      limit(async () => {
        const reason = await this.#accept(event, runs);
        if (reason === undefined) handled.accepted += 1;
        else ignore(reason);
      }),
    );
    const failures = (await Promise.allSettled(tried)).filter((end) => end.status === "rejected");
    const { log } = this.#deps;
    if (Object.keys(handled.ignored).length > 0) log.info({ ignored: handled.ignored }, "events ignored");
    if (handled.accepted > 0) log.debug({ accepted: handled.accepted }, "events accepted");
    const [first] = failures;
    if (!first) return handled;
    log.warn({ failed: failures.length, accepted: handled.accepted, err: first.reason }, "events not accepted");
    throw first.reason;
  }

  /** @param runs those of this message @returns why it is not labeled; undefined if it is accepted */
  async #accept(event: ObjectEvent, runs: Set<string>): Promise<string | undefined> {
    const { rules, secret, sink } = this.#deps;
    const match = rules.match(event);
    if (!("rule" in match)) return match.ignored;
    const { rule } = match;
    const object = await this.#versionOf(event, rule);
    if (typeof object === "string") return object;
    const { bucket, key, uri } = event;
    const run = deriveRunId(secret, rule.name, bucket, key, object.versionId ?? object.etag!);
    if (runs.has(run)) return undefined;
    runs.add(run);
    const accepted = { run, owner: `rule:${rule.name}`, rule, uri, object };
    return rule.kind === "table" ? sink.table(accepted) : sink.item(accepted);
  }

  /** The version that is labeled: that of the event. A sender that knows none means the current one. */
  async #versionOf({ uri, bucket, key, object }: ObjectEvent, rule: EventRule): Promise<ObjectVersion | NotLabeled> {
    const isKnown = object.versionId !== undefined || object.etag !== undefined;
    // Workers read an item in its version. A table is read by many requests, so it must be the current one.
    if (isKnown && rule.kind !== "table") return object;
    if (!/^s3:/i.test(uri)) return isKnown ? object : "no-version";
    let etag: string;
    try {
      ({ etag } = await this.#deps.s3.head({ bucket, key }));
    } catch (error) {
      if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return "missing";
      throw error;
    }
    if (object.etag !== undefined && object.etag !== etag) return "replaced";
    return isKnown ? object : { ...object, etag };
  }
}
