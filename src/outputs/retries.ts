import { LabelmillError } from "../errors.ts";
import type { Manifest } from "../schemas/manifest.ts";
import { MANIFEST_FILE, RETRIES_FOLDER } from "../schemas/names.ts";
import type { RunFile } from "../schemas/run.ts";
import type { ObjectStore, ReadableStore } from "../storage/store.ts";
import { orderedRows } from "./ordered-rows.ts";
import { encodeJson, readFinished } from "./output.ts";
import { newRunId } from "./run-file.ts";

/** The next retry: its run, the URI of its output, and the number of its rows. */
export type Retry = { runFile: RunFile; uri: string; rows: number };

/** Opens an output for reading. */
export type OpenStore = (uri: string) => Promise<ReadableStore>;

/** The URI of the output of a retry, within that of its run. */
export function retryUri(output: string, retry: number): string {
  return `${output}${RETRIES_FOLDER}${retry}/`;
}

/**
 * From the URI of a retry: the output of its run, and the output whose rows in error it labels again, which may be a
 * retry too.
 */
export function retriedUris(uri: string, retry: number): { output: string; before: string } {
  const end = `${RETRIES_FOLDER}${retry}/`;
  if (!uri.endsWith(end)) throw new LabelmillError("INTERNAL", `expected an output that ends in ${end}, got ${uri}`);
  const output = uri.slice(0, -end.length);
  return { output, before: retry === 1 ? output : retryUri(output, retry - 1) };
}

/**
 * The next retry of an output: of the rows that are still in error after its last retry.
 * @throws LabelmillError RUN_FAILED (the run or a retry of it is not finished), USAGE (no row is in error)
 */
export async function nextRetry(store: ReadableStore, openStore: OpenStore): Promise<Retry> {
  let [latest, { runFile, manifest }] = [store, await readFinished(store)];
  for (const { retry } of manifest.retries ?? []) {
    latest = await openStore(retryUri(store.uri, retry));
    ({ runFile, manifest } = await readFinished(latest));
  }
  const rows = manifest.totals.errors;
  if (rows === 0) throw new LabelmillError("USAGE", `${latest.uri}: no row is in error, so there is nothing to retry`);
  const retry = (runFile.retryOf?.retry ?? 0) + 1;
  const uri = retryUri(store.uri, retry);
  const fresh = { run: newRunId(), createdAt: new Date().toISOString(), retryOf: { run: runFile.run, retry } };
  // Most rows of a retry may be in error again: this must not stop it.
  const { maxErrors: _maxErrors, ...settings } = runFile.settings;
  // The files of the retry get the same columns.
  const { columns } = manifest;
  // A retry reads only records of the run before it. Skipped inputs are in the manifest of that run.
  const { passedOver: _passedOver, embedded: _embedded, ...before } = runFile;
  const inputs = runFile.inputs.map((input) => (columns ? { ...input, columns } : input));
  return { runFile: { ...before, ...fresh, settings, inputs }, uri, rows };
}

/** Records a finished retry in the manifest of its run: which rows it supersedes. A repetition changes nothing. */
export async function noteRetry(store: ObjectStore, retry: number, of: Manifest): Promise<void> {
  const { manifest } = await readFinished(store);
  const { run, totals, partsSha256 } = of;
  const { planned: superseded, labeled, errors } = totals;
  const others = (manifest.retries ?? []).filter((other) => other.retry < retry);
  const retries = [...others, { retry, run, superseded, labeled, errors, partsSha256 }];
  await store.put(MANIFEST_FILE, encodeJson({ ...manifest, retries } satisfies Manifest));
}

/**
 * Finds the rows in error of a finished run.
 * @returns a function that returns those of a slice, as numbers of records by the URI of their input. It may return
 * some of other slices too. Call it for slices in their order.
 */
export function errorPositions(
  store: ReadableStore,
): (slice: number) => Promise<ReadonlyMap<string, ReadonlySet<number>>> {
  const pieces = orderedRows(store, true);
  let last = -1;
  let first = 0;
  let found = new Map<string, Set<number>>();
  return async (slice) => {
    while (last < slice) {
      const { done, value } = await pieces.next();
      found = new Map();
      [first, last] = done ? [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY] : [value.first, value.last];
      for (const { uri, record } of done ? [] : value.rows) found.set(uri, (found.get(uri) ?? new Set()).add(record));
    }
    return slice < first ? new Map() : found;
  };
}
