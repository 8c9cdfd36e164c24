import { serving } from "../../fleet/registry.ts";
import { DEFAULT_SLICE_ITEMS, MAX_SLICE_ITEMS } from "../../schemas/job.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";

/** What a slice keeps a worker busy for. */
const SLICE_SECONDS = 10;
const FEWEST = 64;

/**
 * Items in a slice: what was asked for, else what the slowest worker that serves this version of a model labels in ten seconds, within
 * 64 to 20,000; 500 where none has told its rate yet.
 */
export function sliceItemsFor(workers: readonly WorkerInfo[], digest: string, explicit?: number): number {
  if (explicit !== undefined) return explicit;
  const rates = serving(workers, digest).flatMap(({ models }) =>
    models.flatMap((model) => (model.digest === digest && model.itemsPerSecond ? [model.itemsPerSecond] : [])),
  );
  if (rates.length === 0) return DEFAULT_SLICE_ITEMS;
  return Math.min(MAX_SLICE_ITEMS, Math.max(FEWEST, Math.round(Math.min(...rates) * SLICE_SECONDS)));
}
