import type { Redis } from "ioredis";
import { deliveriesOf } from "../../runs/deliveries.ts";
import { jobsFinished } from "../../runs/queues/job-states.ts";
import { WebhookQueue } from "../../runs/queues/webhook-queue.ts";
import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import {
  type WebhookDelivery,
  type WebhookEvent,
  webhookDelivery,
  webhookDeliveryId,
} from "../../schemas/enrichment/delivery.ts";
import type { ResultTarget, WebhookTarget } from "../../schemas/enrichment/target.ts";
import type { LabelEvent } from "../../schemas/event.ts";
import { WEBHOOKS_QUEUE } from "../../schemas/names.ts";
import type { Journal } from "./journal.ts";

type AcceptedSingle = Extract<Accepted, { kind: "single" }>;

/** The webhook deliveries of accepted submissions. A record stays in the journal until all of them are delivered or dead. */
export class RunDeliveries {
  readonly #redis: Redis;
  readonly #queue: WebhookQueue;
  readonly #journal: Journal;

  constructor(redis: Redis, journal: Journal) {
    this.#redis = redis;
    this.#queue = new WebhookQueue(redis);
    this.#journal = journal;
  }

  /**
   * The runs whose deliveries are all in the queue. So they have ended, and Redis has not lost them.
   * @returns for each of them, whether all its deliveries are delivered or dead
   */
  async done<Run extends { deliveries: readonly string[] }>(runs: readonly Run[]): Promise<Map<Run, boolean>> {
    const withDeliveries = runs.filter(({ deliveries }) => deliveries.length > 0);
    if (withDeliveries.length === 0) return new Map();
    const ids = withDeliveries.flatMap(({ deliveries }) => deliveries);
    const found = await jobsFinished(this.#redis, WEBHOOKS_QUEUE, ids);
    const queued = withDeliveries.filter(({ deliveries }) => deliveries.every((id) => found.has(id)));
    return new Map(queued.map((run) => [run, run.deliveries.every((id) => found.get(id))]));
  }

  /**
   * Queues the deliveries of the end of a single that are not done. One that is queued stays as it is.
   * @returns their number
   */
  async queue({ job, delivered }: AcceptedSingle, end: LabelEvent): Promise<number> {
    return await this.#add(deliveriesOf({ results: job.results, delivered }, end));
  }

  /** As `queue`, for a planned run. */
  async queueOfRun(record: Accepted, targets: readonly WebhookTarget[], event: WebhookEvent): Promise<number> {
    const all = targets.map((target) => webhookDelivery(event, target));
    return await this.#add(all.filter(({ id }) => !record.delivered?.includes(id)));
  }

  async #add(deliveries: readonly WebhookDelivery[]): Promise<number> {
    for (const delivery of deliveries) await this.#queue.add(delivery);
    return deliveries.length;
  }

  /**
   * Notes in the record that a delivery is done. The last one of a single removes the record: its run has ended.
   * @returns whether the record was removed
   */
  async settle(run: string, id: string): Promise<boolean> {
    return await this.#journal.update(run, (record) => {
      const delivered = [...new Set([...(record.delivered ?? []), id])];
      const isLast =
        record.kind === "single" && deliveryIds(run, record.job.results).every((each) => delivered.includes(each));
      return isLast ? undefined : { ...record, delivered };
    });
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** The ids of the deliveries of a run. */
export function deliveryIds(run: string, results: readonly ResultTarget[] = []): string[] {
  return results.filter((target) => target.to === "webhook").map((target) => webhookDeliveryId(run, target));
}
