import { DelayedError, type Job as QueuedJob, UnrecoverableError, WaitingError } from "bullmq";
import { LabelmillError, messageOf } from "../errors.ts";
import type { Poster } from "../fetch/post.ts";
import type { Logger } from "../logger.ts";
import { TransientError } from "../retry/transient-error.ts";
import { withoutItems } from "../runs/deliveries.ts";
import { delayJob, giveBack } from "../runs/queues/job-moves.ts";
import { LogThrottle } from "../runs/queues/log-throttle.ts";
import { RawPayload } from "../runs/queues/queue-worker.ts";
import { type WebhookDelivery, WebhookDeliverySchema } from "../schemas/enrichment/delivery.ts";
import type { ObjectStore } from "../storage/store.ts";
import { disabledEndpoint, disableEndpoint } from "./disabled-endpoints.ts";
import type { EndpointCounts } from "./endpoint-counts.ts";
import type { EndpointSlots } from "./endpoint-slots.ts";
import { type Endpoint, resolveTarget, type WebhookSettings } from "./endpoints.ts";
import { sendSigned } from "./send.ts";

const GONE = 410;
export type DeliverDeps = {
  settings: WebhookSettings;
  poster: Poster;
  /** The state store. */
  state: ObjectStore;
  counts: EndpointCounts;
  slots: EndpointSlots;
  /** Marks a delivery as done in the record of its run. */
  settle(run: string, id: string): Promise<void>;
  log: Logger;
  tries: number;
  timeoutMs: number;
  /** The wait for a store that is not available. It uses no try. */
  storeWaitMs: number;
  /** Aborts running tries. Their deliveries are given back, without using a try. */
  stop: AbortSignal;
};

/** The outcome of a delivery, in the progress of its job until its run's record has it. */
type End = { dead: string | null };

/** One job of the webhooks queue: one try of a delivery. */
export class Deliverer {
  readonly #deps: DeliverDeps;
  readonly #throttle = new LogThrottle();

  constructor(deps: DeliverDeps) {
    this.#deps = deps;
  }

  /**
   * Returns when the delivery has succeeded.
   * @throws TransientError: the try failed, and BullMQ tries again. UnrecoverableError: the delivery is a dead letter, with
   * this message as its reason. WaitingError, DelayedError: no try was made
   */
  async handle(job: QueuedJob, token: string): Promise<void> {
    job.opts.attempts = this.#deps.tries;
    // The reason is kept; stacks would only show our own code.
    job.opts.stackTraceLimit = 0;
    const delivery = parse(job.data);
    if (typeof delivery === "string") {
      this.#deps.log.error({ delivery: job.id, reason: delivery }, "webhook cannot be read: moved to the dead letters");
      throw new UnrecoverableError(delivery);
    }
    try {
      const end = endOf(job.progress);
      if (end) await this.#end(job, token, delivery, end);
      else await this.#deliver(job, token, delivery);
    } catch (error) {
      if (isVerdict(error)) throw error;
      await this.#failed(job, token, delivery, error);
    }
  }

  async #deliver(job: QueuedJob, token: string, delivery: WebhookDelivery): Promise<void> {
    const { settings, slots, state } = this.#deps;
    // A server whose settings do not have the endpoint yet may get the delivery: that is a failed try, not the end.
    const endpoint = resolveTarget(delivery.target, settings);
    using slot = slots.take(endpoint.group);
    if (!slot) return delayJob(job, token, slots.waitMs(endpoint.group));
    const off = await this.#orDelayed(job, token, () => disabledEndpoint(state, endpoint.key));
    if (off) {
      await this.#end(
        job,
        token,
        delivery,
        { dead: `the endpoint is disabled since ${off.since}: ${off.reason}` },
        endpoint,
      );
      return;
    }
    await this.#try(job, token, delivery, endpoint);
  }

  async #try(job: QueuedJob, token: string, delivery: WebhookDelivery, endpoint: Endpoint): Promise<void> {
    const { poster, state, timeoutMs, stop, log } = this.#deps;
    const message = { id: delivery.id, body: Buffer.from(JSON.stringify(delivery.event)) };
    let status: number;
    try {
      status = await sendSigned(poster, endpoint, message, { timeoutMs, signal: stop });
    } catch (error) {
      if (stop.aborted) return giveBack(job, token);
      return this.#failed(job, token, delivery, error, endpoint);
    }
    if (status >= 200 && status <= 299) return this.#end(job, token, delivery, { dead: null }, endpoint);
    if (status !== GONE) return this.#failed(job, token, delivery, new TransientError(`status ${status}`), endpoint);
    await this.#orDelayed(job, token, () => disableEndpoint(state, endpoint, `it answered ${GONE}`));
    log.warn({ endpoint: endpoint.group }, `webhook endpoint answered ${GONE}: disabled`);
    await this.#end(job, token, delivery, { dead: `status ${GONE}: the endpoint is disabled` }, endpoint);
  }

  /** A refused address is the end at once: each try would send packets into a network. */
  async #failed(
    job: QueuedJob,
    token: string,
    delivery: WebhookDelivery,
    error: unknown,
    endpoint?: Endpoint,
  ): Promise<void> {
    const reason = messageOf(error);
    const failed = job.attemptsMade + 1;
    const isRefused = error instanceof LabelmillError && error.code === "URL_REFUSED";
    if (isRefused || failed >= this.#deps.tries) {
      const tries = failed === 1 ? "1 try" : `${failed} tries`;
      return this.#end(job, token, delivery, { dead: `${reason} (after ${tries})` }, endpoint);
    }
    const name = endpoint?.group ?? delivery.target.endpoint ?? "";
    this.#throttle.log(`try ${name}`, 1, (times) =>
      this.#deps.log.warn(
        { endpoint: name, run: delivery.run, reason, times },
        "webhook try failed: it is tried again",
      ),
    );
    if (endpoint) await this.#count((counts) => counts.failed(endpoint, reason, false));
    throw error instanceof TransientError ? error : new TransientError(reason, { cause: error });
  }

  /** Settles the delivery in its run's record. If the record cannot be written, the delivery waits, and is not sent again. */
  async #end(job: QueuedJob, token: string, delivery: WebhookDelivery, end: End, endpoint?: Endpoint): Promise<void> {
    const { settle, log } = this.#deps;
    const { id, run, target } = delivery;
    const isFirst = endOf(job.progress) === undefined;
    try {
      await settle(run, id);
    } catch (error) {
      // A record that is invalid, or a store that refuses: waiting changes nothing, and the delivery has ended.
      const isLasting = error instanceof LabelmillError && !error.retryable;
      const then = isLasting ? "it may be sent again" : "tried again";
      this.#throttle.log(`settle ${then}`, 1, (times) =>
        log.warn({ run, delivery: id, times, err: error }, `the end of a webhook could not be recorded: ${then}`),
      );
      if (!isLasting) {
        if (isFirst) await job.updateProgress(end);
        return delayJob(job, token, this.#deps.storeWaitMs);
      }
    }
    const { dead } = end;
    const name = endpoint?.group ?? target.endpoint ?? "";
    if (endpoint)
      await this.#count((counts) => (dead === null ? counts.delivered(endpoint) : counts.failed(endpoint, dead, true)));
    if (dead === null) {
      await this.#shrink(job, delivery);
      log.debug({ endpoint: name, run, delivery: id }, "webhook delivered");
      return;
    }
    log.error({ endpoint: name, run, delivery: id, reason: dead }, "webhook not delivered: moved to the dead letters");
    throw new UnrecoverableError(dead);
  }

  /** The queue keeps a delivered delivery for a day, so that it is not queued again. It needs no rows for that. */
  async #shrink(job: QueuedJob, { event, ...delivery }: WebhookDelivery): Promise<void> {
    if (!event.data.items) return;
    await job.updateData({ ...delivery, event: withoutItems(event) }).catch((error: unknown) => {
      this.#deps.log.debug({ err: error }, "the rows of a delivered webhook were not removed");
    });
  }

  /** Does what needs the state store. If it is not available, the job is delayed, without using a try. */
  async #orDelayed<T>(job: QueuedJob, token: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#throttle.log("state", 1, (times) =>
        this.#deps.log.warn({ times, err: error }, "webhooks wait: the state store cannot be used"),
      );
      return delayJob(job, token, this.#deps.storeWaitMs);
    }
  }

  /** A count that is lost changes no delivery. */
  async #count(add: (counts: EndpointCounts) => Promise<void>): Promise<void> {
    await add(this.#deps.counts).catch((error: unknown) => {
      this.#deps.log.debug({ err: error }, "a webhook could not be counted");
    });
  }
}

/** Why the payload is not a delivery, or the delivery. */
function parse(data: unknown): WebhookDelivery | string {
  if (data instanceof RawPayload) return `expected a payload that BullMQ can read, got: ${data.reason}`;
  const parsed = WebhookDeliverySchema.safeParse(data);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  return `${issue.path.join(".") || "payload"}: ${issue.message}`;
}

function endOf(progress: unknown): End | undefined {
  if (typeof progress !== "object" || progress === null || !("dead" in progress)) return undefined;
  return { dead: typeof progress.dead === "string" ? progress.dead : null };
}

function isVerdict(error: unknown): boolean {
  const kinds = [TransientError, UnrecoverableError, WaitingError, DelayedError];
  return kinds.some((kind) => error instanceof kind);
}
