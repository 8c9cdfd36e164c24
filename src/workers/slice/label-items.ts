import type { ItemError } from "../../schemas/item.ts";
import type { Job } from "../../schemas/job.ts";
import type { LabelScore, Row } from "../../schemas/row.ts";
import type { Evidence, Span } from "../crashes/evidence.ts";
import { planIsolated } from "../crashes/isolation-plan.ts";
import type { LoadedItem, LoadedJob } from "./load-items.ts";

/** The labels of an item, or its error. */
export type ItemOutcome = { labels: LabelScore[]; truncated?: true } | { error: ItemError };

/**
 * Labels items together. Returns an array of the same length, with an error in the place of an item that failed.
 * @param onAnswers called while the items are labeled, with the number of items done, and, if they were in a batch, the
 * batch and their share of its time in ms
 */
export type LabelItems = (
  items: readonly LoadedItem[],
  job: Pick<Job, "run" | "topK">,
  signal: AbortSignal,
  onAnswers?: (count: number, batch?: number, ms?: number) => void,
) => Promise<ItemOutcome[]>;

/** Labels all items of a slice at once. This is the normal case. */
export async function labelTogether(job: LoadedJob, label: LabelItems, signal: AbortSignal): Promise<Row[]> {
  const open = job.items.filter((item) => item.error === undefined);
  const outcomes = (await label(open, job, signal)).values();
  return job.items.map((item) => toRow(item, job, item.error ? { error: item.error } : outcomes.next().value!));
}

/**
 * Labels a slice that lost its worker twice, in pieces that are recorded before they run. Items that caused the crashes
 * become rows in error. All others get their labels.
 * @param note records the span of item indexes that runs next, where it survives a crash of this process; null: no item
 * is running that a crash could be blamed on
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
  // All items are done: none of them can be blamed for a later crash.
  await note(null);
  return rows as Row[];
}

const CRASHED: ItemError = {
  code: "ITEM_CRASHED_WORKER",
  message: "two worker processes died while this item ran alone, and no attempt labeled it",
  retryable: true,
};

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
