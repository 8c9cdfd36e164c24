import { LabelmillError } from "../errors.ts";
import type { Compactions } from "../runs/compactions.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import type { Progress } from "../runs/ledger/progress.ts";
import { endState, isEnded } from "../runs/state.ts";
import { sumPassedOver } from "../schemas/input.ts";
import { type Manifest, ManifestSchema } from "../schemas/manifest.ts";
import { FILES_FILE, MANIFEST_FILE, PARTS_FILE, SUCCESS_FILE } from "../schemas/names.ts";
import { isCompacted } from "../schemas/output.ts";
import type { RunFile, RunState } from "../schemas/run.ts";
import { SOFTWARE } from "../software.ts";
import type { ObjectStore } from "../storage/store.ts";
import { clearParts } from "./clear.ts";
import { columnTypes } from "./column-types.ts";
import { FileTally } from "./file-tally.ts";
import { encodeJson, readRunFile } from "./output.ts";
import { PartTally } from "./part-tally.ts";
import { noteRetry, retriedUris } from "./retries.ts";
import { sliceRanges } from "./slice-ranges.ts";

/**
 * Closes a run whose slices have all ended. Writes `_parts.jsonl`, then `_manifest.json`, then `_SUCCESS` if no slice
 * failed permanently. If the run has output files and no slice failed, it first queues the jobs that make them and
 * returns. Called again when they are made, it lists them in `_files.jsonl`, and removes the parts after `_SUCCESS`.
 * Each step can be repeated: if a finalizer dies, another one starts from the beginning.
 * @returns the end state of the run, or undefined if the run is not ready to be closed
 */
export async function finalizeRun(
  run: string,
  store: ObjectStore,
  ledger: RunLedger,
  compactions: Compactions,
  openStore: (uri: string) => Promise<ObjectStore>,
): Promise<RunState | undefined> {
  const progress = await ledger.progress(run);
  if (!progress || progress.slices === undefined) return undefined;
  if (isEnded(progress.state)) return progress.state;
  if (progress.committed + progress.failed !== progress.slices) return undefined;
  if (!(await ledger.transition(run, "finalizing"))) return undefined;

  const runFile = await readRunFile(store);
  if (runFile?.run !== run)
    throw new LabelmillError(
      "RUN_UNKNOWN",
      `${store.uri}: expected the run ${run}, got ${runFile ? `the run ${runFile.run}` : "no run"}`,
    );
  // Files are made of complete runs only: the same command labels the failed slices first.
  const compacted = isCompacted(runFile.spec.output) && progress.failed === 0;
  if (compacted) {
    const ranges = sliceRanges(ledger.slices(run, progress.slices), runFile.spec.output.targetBytes);
    if (!(await compactions.ask(run, progress.output, ranges))) return undefined;
  }
  const manifest = await writeManifest(runFile, progress, store, ledger, compacted ? compactions : undefined);
  if (manifest.state !== "failed") {
    await store.put(SUCCESS_FILE, new Uint8Array());
    const { retryOf } = runFile;
    if (retryOf)
      await noteRetry(await openStore(retriedUris(store.uri, retryOf.retry).output), retryOf.retry, manifest);
  }
  // Before the end of the run is recorded, so that another finalizer follows one that dies here.
  if (compacted) await clearParts(store);
  await ledger.transition(run, manifest.state);
  if (manifest.state !== "failed") await Promise.all([ledger.retire(run), compactions.retire(run)]);
  await ledger.announce(run);
  return manifest.state;
}

/**
 * Writes `_files.jsonl`, `_parts.jsonl` and `_manifest.json`.
 * @param compactions omitted if no files were made of the parts
 */
async function writeManifest(
  runFile: RunFile,
  progress: Progress,
  store: ObjectStore,
  ledger: RunLedger,
  compactions: Compactions | undefined,
): Promise<Manifest> {
  const { run, schemaVersion, createdAt, spec, settings } = runFile;
  const { model, ...specWithoutModel } = spec;
  const files = compactions ? await writeFileLines(runFile, store, compactions) : {};
  const parts = new PartTally(runFile);
  await store.put(PARTS_FILE, parts.lines(ledger.slices(run, progress.slices!)));
  const [{ labels, errorCodes }, devices, planned] = await Promise.all([
    ledger.counts(run),
    ledger.devices(run),
    ledger.passedOver(run),
  ]);
  const sums = parts.sums();
  const finishedAt = new Date().toISOString();
  // The two times may be of the clocks of two machines.
  const seconds = Math.max(0, (Date.parse(finishedAt) - Date.parse(createdAt)) / 1000);
  const { pricePerHour } = settings;
  const manifest = ManifestSchema.parse({
    schemaVersion,
    run,
    state: endState({ errors: sums.totals.errors, failedSlices: sums.failedSlices }),
    software: SOFTWARE,
    model,
    devices,
    createdAt,
    finishedAt,
    ...sums,
    labels,
    errorCodes,
    ...files,
    settings: { ...specWithoutModel, ...settings },
    timings: { seconds, inferSeconds: progress.inferMs / 1000 },
    ...(pricePerHour === undefined ? {} : { cost: costOf(pricePerHour, seconds, sums.totals) }),
    passedOver: sumPassedOver([...(runFile.passedOver ? [runFile.passedOver] : []), planned]),
    conditionalWrites: store.conditionalWrites,
  } satisfies Partial<Record<keyof Manifest, unknown>>);
  await store.put(MANIFEST_FILE, encodeJson(manifest));
  return manifest;
}

/** Writes `_files.jsonl`. @returns the fields of the manifest about the files */
async function writeFileLines(
  runFile: RunFile,
  store: ObjectStore,
  compactions: Compactions,
): Promise<Pick<Manifest, "files" | "filesSha256" | "columns">> {
  const tally = new FileTally();
  await store.put(FILES_FILE, tally.lines(compactions.files(runFile.run)));
  if (runFile.spec.output.format !== "parquet") return tally.sums();
  return { ...tally.sums(), columns: Object.fromEntries(await columnTypes(runFile, compactions)) };
}

function costOf(
  pricePerHour: number,
  seconds: number,
  { labeled, errors }: Manifest["totals"],
): NonNullable<Manifest["cost"]> {
  const total = (pricePerHour * seconds) / 3600;
  const items = labeled + errors;
  return { pricePerHour, total, perMillionItems: items === 0 ? null : (total / items) * 1e6 };
}
