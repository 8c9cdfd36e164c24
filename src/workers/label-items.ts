import { LabelmillError, messageOf } from "../errors.ts";
import type { ItemError } from "../schemas/item.ts";
import type { LabelScore, Row } from "../schemas/row.ts";
import type { LoadedItem, LoadedJob } from "./loaded-job.ts";
import type { Losses } from "./losses.ts";

/** What became of one item. */
export type ItemOutcome = { labels: LabelScore[]; truncated?: true } | { error: ItemError };

/**
 * Labels items that arrived together: an array of the same length comes back, an error in the place of an item that failed.
 * `onAnswers` is told, as it goes, how many of them are through, and in which batch, if they came to one, and
 * what they had of its ms.
 */
export type LabelItems = (
  items: readonly LoadedItem[],
  topK: number,
  signal: AbortSignal,
  onAnswers?: (count: number, batch?: number, ms?: number) => void,
) => Promise<ItemOutcome[]>;

/** All items of a slice at once: the rule. */
export async function labelTogether(job: LoadedJob, label: LabelItems, signal: AbortSignal): Promise<Row[]> {
  const open = job.items.filter((item) => item.error === undefined);
  const outcomes = (await label(open, job.topK, signal)).values();
  return job.items.map((item) => toRow(item, job, item.error ? { error: item.error } : outcomes.next().value!));
}

/**
 * Item by item, each one noted before it is run: for a slice that lost its worker again and again. The items on which a
 * worker died become error rows, the others get their labels.
 * @param note saves the item's index where it outlives this process
 */
export async function labelOneByOne(
  job: LoadedJob,
  losses: Losses,
  label: LabelItems,
  note: (index: number) => Promise<void>,
  signal: AbortSignal,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [index, item] of job.items.entries()) {
    signal.throwIfAborted();
    if (item.error) rows.push(toRow(item, job, { error: item.error }));
    else if (losses.crashedOn.has(index)) rows.push(toRow(item, job, { error: CRASHED }));
    else {
      await note(index);
      const [outcome] = await label([item], job.topK, signal);
      rows.push(toRow(item, job, outcome!));
    }
  }
  // Past the last item: whatever ends the process from here on, no item did it.
  await note(job.items.length);
  return rows;
}

const CRASHED: ItemError = {
  code: "ITEM_CRASHED_WORKER",
  message: "the worker's process died on this item, which was then run alone",
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
