import { readRunFile } from "../../outputs/output.ts";
import type { RunLedger } from "../../runs/ledger/ledger.ts";
import type { WebhookQueue } from "../../runs/queues/webhook-queue.ts";
import { type WebhookEvent, webhookDelivery } from "../../schemas/enrichment/delivery.ts";
import type { RunState } from "../../schemas/run.ts";
import type { ObjectStore } from "../../storage/store.ts";

export type RunEndDeps = { ledger: Pick<RunLedger, "progress" | "counts">; webhooks: Pick<WebhookQueue, "add"> };

type EndState = WebhookEvent["data"]["state"];

/**
 * Queues the webhooks of a planned run that has ended, if its settings have any. The first end of a run counts: the ids of
 * its deliveries are the same for a later one.
 */
export async function deliverRunEnd(
  { run, state, store }: { run: string; state: RunState; store: ObjectStore },
  { ledger, webhooks }: RunEndDeps,
): Promise<void> {
  if (!isEnd(state)) return;
  const runFile = await readRunFile(store);
  const targets = runFile?.run === run ? (runFile.settings.results ?? []) : [];
  if (targets.length === 0) return;
  const { id, digest } = runFile!.spec.model;
  const [progress, { labels }] = await Promise.all([ledger.progress(run), ledger.counts(run)]);
  const unknown = { code: "RUN_FAILED", message: "the run failed; its reason is not recorded" };
  const event: WebhookEvent = {
    type: "run.ended",
    timestamp: new Date().toISOString(),
    data: {
      ...{ run, state, output: store.uri, model: { id, digest } },
      ...{ rows: progress?.rows ?? 0, errors: progress?.errors ?? 0, labels },
      ...(state === "failed" ? { failed: progress?.failure ?? unknown } : {}),
    },
  };
  for (const target of targets) await webhooks.add(webhookDelivery(event, target));
}

function isEnd(state: RunState): state is EndState {
  return ["succeeded", "finished_with_errors", "failed", "cancelled"].includes(state);
}
