import type { RunLedger } from "../runs/ledger/ledger.ts";
import { isEnded } from "../runs/state.ts";
import type { WebhookEvent } from "../schemas/enrichment/delivery.ts";
import type { RunFile, RunState } from "../schemas/run.ts";
import type { ReadableStore } from "../storage/store.ts";
import { readManifest } from "./output.ts";

type EndState = WebhookEvent["data"]["state"];

const UNKNOWN_FAILURE = { code: "RUN_FAILED", message: "the run failed; its reason is not recorded" };

/**
 * The event of the end of a planned run: from Redis, else from its manifest. A run that failed early or was cancelled may
 * have no manifest.
 * @returns undefined if the run has not ended
 */
export async function runEndEvent(
  { run, spec: { model } }: Pick<RunFile, "run" | "spec">,
  store: ReadableStore,
  ledger: Pick<RunLedger, "progress" | "counts">,
): Promise<WebhookEvent | undefined> {
  const progress = await ledger.progress(run);
  const manifest = await readManifest(store);
  const state = progress?.state ?? (manifest?.run === run ? manifest.state : undefined);
  if (state === undefined || !isEndState(state)) return undefined;
  // The manifest of an earlier end may be of another state.
  const kept = manifest?.run === run && manifest.state === state ? manifest : undefined;
  const sums = kept
    ? { rows: kept.totals.labeled + kept.totals.errors, errors: kept.totals.errors, labels: kept.labels }
    : { rows: progress?.rows ?? 0, errors: progress?.errors ?? 0, labels: (await ledger.counts(run)).labels };
  const failed = kept?.failure ?? progress?.failure ?? UNKNOWN_FAILURE;
  return {
    type: "run.ended",
    timestamp: kept?.finishedAt ?? new Date().toISOString(),
    data: {
      ...{ run, state, output: store.uri, model: { id: model.id, digest: model.digest }, ...sums },
      ...(state === "failed" ? { failed } : {}),
    },
  };
}

function isEndState(state: RunState): state is EndState {
  return isEnded(state);
}
