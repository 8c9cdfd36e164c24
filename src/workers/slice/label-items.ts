import { LabelmillError, messageOf } from "../../errors.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { Job } from "../../schemas/job.ts";
import type { LabelScore, Row } from "../../schemas/row.ts";
import type { Evidence, Span } from "../crashes/evidence.ts";
import { planIsolated } from "../crashes/isolation-plan.ts";
import type { LoadedItem, LoadedJob } from "./loaded-job.ts";

/** What became of one item. */
export type ItemOutcome = { labels: LabelScore[]; truncated?: true } | { error: ItemError };

/**
 * Labels items that arrived together: an array of the same length comes back, an error in the place of an item that failed.
 * `onAnswers` is told, as it goes, how many of them are through, and in which batch, if they came to one, and
 * what they had of its ms.
 */
export type LabelItems = (
  items: readonly LoadedItem[],
  job: Pick<Job, "run" | "topK">,
  signal: AbortSignal,
  onAnswers?: (count: number, batch?: number, ms?: number) => void,
) => Promise<ItemOutcome[]>;

/** All items of a slice at once: the rule. */
export async function labelTogether(job: LoadedJob, label: LabelItems, signal: AbortSignal): Promise<Row[]> {
  const open = job.items.filter((item) => item.error === undefined);
  const outcomes = (await label(open, job, signal)).values();
  return job.items.map((item) => toRow(item, job, item.error ? { error: item.error } : outcomes.next().value!));
}

/**
 * In pieces, each recorded before it runs: for a slice that lost its worker twice. Items that are to blame become error rows, the others get their
 * labels.
 * @param note saves the span of indexes that runs next where it outlives this process; null: nothing that could be blamed
 */
export async function labelIsolated(
  job: LoadedJob,
  evidence: Evidence,
  label: LabelItems,
  note: (span: Span | null) => Promise<void>,
  signal: AbortSignal,
): Promise<Row[]> {
  const { condemned, pieces } = planIsolated(job.items.length, evidence);
  const rows = job.items.map((item, index) => {
    const error = item.error ?? (condemned.has(index) ? CRASHED : undefined);
    return error && toRow(item, job, { error });
  });
  for (const { span, noted } of pieces) {
    signal.throwIfAborted();
    const [first, end] = span;
    const open = Array.from({ length: end - first }, (_, i) => first + i).filter((index) => rows[index] === undefined);
    if (open.length === 0) continue;
    await note(noted ? span : null);
    const items = open.map((index) => job.items[index]!);
    const outcomes = await label(items, job, signal);
    for (const [i, index] of open.entries()) rows[index] = toRow(job.items[index]!, job, outcomes[i]!);
  }
  // Past the last item: whatever ends the process from here on, no item did it.
  await note(null);
  return rows as Row[];
}

const CRASHED: ItemError = {
  code: "ITEM_CRASHED_WORKER",
  message: "two worker processes died while this item ran by itself; it never came through",
  retryable: true,
};

/** The error row's content for whatever was thrown about one item; what is nobody's item's fault is thrown again. */
export function toItemError(error: unknown): ItemError {
  if (!(error instanceof LabelmillError)) throw error;
  if (["ABORTED", "INFERENCE_FAILED", "INTERNAL", "STORE_FAILED"].includes(error.code)) throw error;
  const message = messageOf(error).slice(0, 4096);
  return { code: error.code, message, ...(error.retryable ? { retryable: true as const } : {}) };
}

function toRow(item: LoadedItem, job: LoadedJob, outcome: ItemOutcome): Row {
  const source = {
    uri: job.sources[item.source]!,
    record: item.record,
    ...(item.line === undefined ? {} : { line: item.line }),
  };
  const input = item.input ? { input: item.input } : {};
  if ("error" in outcome) return { id: item.id, error: outcome.error, ...input, source };
  const best = outcome.labels[0]!;
  return {
    id: item.id,
    label: best.label,
    score: best.score,
    labels: outcome.labels,
    ...(outcome.truncated ? { truncated: true as const } : {}),
    ...(item.repaired ? { repaired: true as const } : {}),
    ...input,
    source,
  };
}
