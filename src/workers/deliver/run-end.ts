import { readRunFile } from "../../outputs/output.ts";
import { runEndEvent } from "../../outputs/run-end.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { WebhookQueue } from "../../runs/queues/webhook-queue.ts";
import { webhookDelivery } from "../../schemas/enrichment/delivery.ts";
import type { ObjectStore } from "../../storage/store.ts";

export type RunEndDeps = { ledger: Pick<RunLedger, "progress" | "counts">; webhooks: Pick<WebhookQueue, "add"> };

/**
 * Queues the webhooks of a planned run that has ended, if its settings have any. The first end of a run counts: the ids of
 * its deliveries are the same for a later one.
 */
export async function deliverRunEnd(
  { run, store }: { run: string; store: ObjectStore },
  { ledger, webhooks }: RunEndDeps,
): Promise<void> {
  const runFile = await readRunFile(store);
  if (runFile?.run !== run || !runFile.settings.results?.length) return;
  const event = await runEndEvent(runFile, store, ledger);
  if (!event) return;
  for (const target of runFile.settings.results) await webhooks.add(webhookDelivery(event, target));
}
