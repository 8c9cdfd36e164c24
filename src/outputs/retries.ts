import { LabelmillError } from "../errors.ts";
import type { Manifest } from "../schemas/manifest.ts";
import { MANIFEST_FILE, RETRIES_FOLDER } from "../schemas/names.ts";
import type { RunFile } from "../schemas/run.ts";
import type { ObjectStore, ReadableStore } from "../storage/store.ts";
import { orderedRows } from "./ordered-rows.ts";
import { encodeJson, readFinished } from "./output.ts";
import { newRunId } from "./run-file.ts";

/** A finished run with rows in error, and the output that is to hold them once more. */
export type Retry = { runFile: RunFile; uri: string; rows: number };

/** Opens an output to read it. */
export type OpenStore = (uri: string) => Promise<ReadableStore>;

/** The output that holds a retry: that of its number's retry. */
export function retryUri(output: string, retry: number): string {
  return `${output}${RETRIES_FOLDER}${retry}/`;
}

/** The output that a retry's lies in, and that of the run whose rows in error it takes: the retry before it, if there is one. */
export function retriedUris(uri: string, retry: number): { output: string; before: string } {
  const end = `${RETRIES_FOLDER}${retry}/`;
  if (!uri.endsWith(end)) throw new LabelmillError("INTERNAL", `expected an output that ends in ${end}, got ${uri}`);
  const output = uri.slice(0, -end.length);
  return { output, before: retry === 1 ? output : retryUri(output, retry - 1) };
}

/**
 * The retry that comes next for an output: of the rows that are in error still.
 * @throws LabelmillError RUN_FAILED (the run, or a retry of it, is not finished), USAGE (no row is in error)
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
  // All of its rows were in error before: that most of them may be so again is no reason to stop.
  const { maxErrors: _maxErrors, ...settings } = runFile.settings;
  // Its files are to have the columns of those that they supersede rows of.
  const { columns } = manifest;
  // A retry reads nothing but rows of the run before it: what that passed over is in its own manifest.
  const { passedOver: _passedOver, embedded: _embedded, ...before } = runFile;
  const inputs = runFile.inputs.map((input) => (columns ? { ...input, columns } : input));
  return { runFile: { ...before, ...fresh, settings, inputs }, uri, rows };
}

/** A retry has ended: the manifest of the output that it lies in says what it supersedes. Done again, it changes nothing. */
export async function noteRetry(store: ObjectStore, retry: number, of: Manifest): Promise<void> {
  const { manifest } = await readFinished(store);
  const { run, totals, partsSha256 } = of;
  const { planned: superseded, labeled, errors } = totals;
  const others = (manifest.retries ?? []).filter((other) => other.retry < retry);
  const retries = [...others, { retry, run, superseded, labeled, errors, partsSha256 }];
  await store.put(MANIFEST_FILE, encodeJson({ ...manifest, retries } satisfies Manifest));
}

/**
 * Which rows of a finished run are in error: numbers of records by the URI of their input.
 * @returns a function that tells those of a slice, and perhaps more; slices are asked for in their order
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
