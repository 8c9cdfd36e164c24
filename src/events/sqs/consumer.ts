import { type ErrorCode, LabelmillError, toLabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { retry } from "../../retry/retry.ts";
import type { MessageQueue, QueueMessage } from "./queue.ts";

/** How long received messages are hidden. It is extended while they are processed. */
export const DEFAULT_VISIBILITY_S = 60;
/** Each receives up to ten messages at a time. */
const RECEIVERS = 4;
/** A message that cannot be read comes back after its visibility, then after twice as long, at most this. */
const MAX_LEFT_S = 3600;
const BACKOFF = { firstMs: 500, maxMs: 30_000, jitter: 0.5 };
/** Tries after an unexpected error. */
const UNEXPECTED_TRIES = 5;

/** Failures that are not those of a message, although a retry alone does not help: a user can fix them while the message waits. */
const OURS: ReadonlySet<ErrorCode> = new Set([
  ...(["STORE_FAILED", "STORE_NOT_FOUND", "NO_WORKER", "NOT_GRANTED", "REDIS_UNFIT", "QUEUE_FAILED"] as const),
]);

export type ConsumerDeps = {
  queue: MessageQueue;
  /** Resolves when everything in the message is accepted. */
  handle(body: string): Promise<void>;
  /** Resolves when there is room for more work. */
  room(signal: AbortSignal): Promise<void>;
  log: Logger;
  /** Default: 60. */
  visibilityS?: number;
  /** Receives at a time. Default: 4. */
  receivers?: number;
};

/** Messages since the start. */
export type ConsumerCounts = { accepted: number; left: number };

/**
 * Takes messages of a queue. A message is deleted only when it is accepted. One that cannot be read stays in the queue, whose redrive
 * policy decides. During an outage the messages are hidden, so that the outage does not count as a failed receive.
 */
export class QueueConsumer {
  readonly counts: ConsumerCounts = { accepted: 0, left: 0 };
  readonly #deps: ConsumerDeps;
  readonly #visibilityS: number;

  constructor(deps: ConsumerDeps) {
    this.#deps = deps;
    this.#visibilityS = deps.visibilityS ?? DEFAULT_VISIBILITY_S;
  }

  /**
   * Consumes until `signal` aborts. Messages that are not accepted by then are visible to other consumers at once.
   * @throws LabelmillError QUEUE_FAILED for a queue that refuses
   */
  async run(signal: AbortSignal): Promise<void> {
    const failure = new AbortController();
    const both = AbortSignal.any([signal, failure.signal]);
    const receivers = Array.from({ length: this.#deps.receivers ?? RECEIVERS }, () =>
      this.#receive(both).catch((error: unknown) => {
        failure.abort(error);
        throw error;
      }),
    );
    const [first] = (await Promise.allSettled(receivers)).filter((end) => end.status === "rejected");
    if (first) throw first.reason;
  }

  async #receive(signal: AbortSignal): Promise<void> {
    const { queue, room, log } = this.#deps;
    const onFailure = (error: unknown): number => {
      if (!(error instanceof LabelmillError) || !error.retryable || signal.aborted) throw error;
      log.warn({ err: error }, "messages not received, trying again");
      return 0;
    };
    const next = async () => {
      await room(signal);
      return queue.receive(this.#visibilityS, signal);
    };
    while (!signal.aborted) {
      try {
        const messages = await retry(next, { backoff: BACKOFF, onFailure, signal });
        await this.#process(messages, signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
    }
  }

  async #process(messages: readonly QueueMessage[], signal: AbortSignal): Promise<void> {
    const { queue, log } = this.#deps;
    const open = new Set(messages);
    const extend = () =>
      queue.hide([...open], this.#visibilityS).catch((error: unknown) => {
        log.warn({ err: error }, "visibility of messages not extended: they may be received twice");
      });
    const timer = setInterval(extend, (this.#visibilityS * 1000) / 3);
    try {
      const processed = messages.map(async (message) => {
        const after = await this.#accept(message, signal);
        // From here on, the timer must not hide it again.
        open.delete(message);
        await this.#settle(message, after);
      });
      await Promise.all(processed);
    } finally {
      clearInterval(timer);
    }
  }

  /** @returns how long the message stays hidden, in seconds; "accepted" for one to delete */
  async #accept(message: QueueMessage, signal: AbortSignal): Promise<number | "accepted"> {
    const { handle, log } = this.#deps;
    const { id, receives } = message;
    const onFailure = (thrown: unknown, { failed }: { failed: number }): number => {
      const error = toLabelmillError(thrown);
      const isOurs = error.retryable || OURS.has(error.code);
      const isUnexpected = error.code === "INTERNAL" && failed < UNEXPECTED_TRIES;
      if (!isOurs && !isUnexpected) throw error;
      log.warn({ message: id, err: error }, "message not accepted, trying again");
      return 0;
    };
    try {
      await retry(() => handle(message.body), { backoff: BACKOFF, onFailure, signal });
      this.counts.accepted += 1;
      return "accepted";
    } catch (error) {
      if (signal.aborted && error === signal.reason) return 0;
      this.counts.left += 1;
      log.warn({ message: id, receives, err: error }, "message left in the queue");
      return Math.min(this.#visibilityS * 2 ** Math.min(receives - 1, 10), MAX_LEFT_S);
    }
  }

  async #settle(message: QueueMessage, after: number | "accepted"): Promise<void> {
    const { queue, log } = this.#deps;
    try {
      if (after === "accepted") await queue.delete(message);
      else await queue.hide([message], after);
    } catch (error) {
      // It is received again, and its objects are known then.
      log.warn({ message: message.id, err: error }, "message not deleted or released");
    }
  }
}
