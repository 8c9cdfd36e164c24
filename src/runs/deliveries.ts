import { type WebhookDelivery, type WebhookEvent, webhookDelivery } from "../schemas/enrichment/delivery.ts";
import type { ResultTarget } from "../schemas/enrichment/target.ts";
import type { LabelEvent } from "../schemas/event.ts";

/** Rows that are longer than this as JSON are left out of an event, in UTF-16 code units: Redis keeps thousands of events. */
const MAX_ITEMS_LENGTH = 64 * 1024;

/**
 * The webhook deliveries of the end of a single. The worker queues them when the single ends, and the server queues them
 * again if Redis lost them.
 * @param of.results the targets of the job; others than webhooks are left out
 * @param of.delivered the ids of deliveries that are done, which are left out. Default: none
 * @param end the event of the single, with or without its rows
 * @param endedAt default: now
 */
export function deliveriesOf(
  of: { results?: readonly ResultTarget[] | undefined; delivered?: readonly string[] | undefined },
  end: LabelEvent,
  endedAt: Date = new Date(),
): WebhookDelivery[] {
  const { results = [], delivered = [] } = of;
  const targets = results.filter((target) => target.to === "webhook");
  if (targets.length === 0) return [];
  const event = eventOf(end, endedAt);
  return targets.map((target) => webhookDelivery(event, target)).filter(({ id }) => !delivered.includes(id));
}

/** The event without its rows: what Redis keeps when it is delivered. */
export function withoutItems(event: WebhookEvent): WebhookEvent {
  const { items: _, ...data } = event.data;
  return { ...event, data };
}

function eventOf(
  { run, output, part, model, rows, errors, labels, items, failed }: LabelEvent,
  at: Date,
): WebhookEvent {
  return {
    type: "run.ended",
    timestamp: at.toISOString(),
    data: {
      ...{ run, state: failed ? "failed" : errors > 0 ? "finished_with_errors" : "succeeded", output },
      ...(failed ? {} : { part }),
      ...{ model, rows, errors, labels },
      ...(items && JSON.stringify(items).length <= MAX_ITEMS_LENGTH ? { items } : {}),
      ...(failed ? { failed } : {}),
    },
  };
}
