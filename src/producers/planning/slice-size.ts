import { serving } from "../../fleet/registry.ts";
import { DEFAULT_SLICE_ITEMS, MAX_SLICE_ITEMS } from "../../schemas/job.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";

/** How long a slice should keep a worker busy. */
const SLICE_SECONDS = 10;
const MIN_SLICE_ITEMS = 64;

/**
 * The number of items in a slice. Default: the items that the slowest worker with this version of the model labels in 10 s, from 64 to
 * 20,000; 500 if no worker has reported its rate yet.
 * @param explicit the number that the user has set
 */
export function sliceItemsFor(workers: readonly WorkerInfo[], digest: string, explicit?: number): number {
  if (explicit !== undefined) return explicit;
  const rates = serving(workers, digest).flatMap(({ models }) =>
    models.flatMap((model) => (model.digest === digest && model.itemsPerSecond ? [model.itemsPerSecond] : [])),
  );
  if (rates.length === 0) return DEFAULT_SLICE_ITEMS;
  return Math.min(MAX_SLICE_ITEMS, Math.max(MIN_SLICE_ITEMS, Math.round(Math.min(...rates) * SLICE_SECONDS)));
}
