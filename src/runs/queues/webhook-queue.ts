import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { WebhookDelivery } from "../../schemas/enrichment/delivery.ts";
import { WEBHOOKS_QUEUE } from "../../schemas/names.ts";
import { openQueue } from "./queue.ts";

/** Tries of a delivery in total. */
export const WEBHOOK_TRIES = 8;
/** The `type` of the backoff of a delivery: the worker of the queue has the waits in `settings.backoffStrategy`. */
export const WEBHOOK_BACKOFF = "webhook";

/** Delivered deliveries are kept this long: a repeated step of a slice does not queue them again. */
const KEPT_DELIVERED = { age: 86_400, count: 10_000 };
/** The dead letters: kept 30 days, and the oldest are removed above this number. */
const KEPT_FAILED = { age: 30 * 86_400, count: 10_000 };

/** Queues deliveries to webhooks. */
export class WebhookQueue {
  readonly #queue: Queue;

  constructor(redis: Redis) {
    this.#queue = openQueue(redis, WEBHOOKS_QUEUE);
  }

  /** Adding a delivery again does nothing while the queue keeps it. */
  async add(delivery: WebhookDelivery): Promise<void> {
    await this.#queue.add("deliver", delivery, {
      jobId: delivery.id,
      attempts: WEBHOOK_TRIES,
      backoff: { type: WEBHOOK_BACKOFF },
      removeOnComplete: KEPT_DELIVERED,
      removeOnFail: KEPT_FAILED,
    });
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
