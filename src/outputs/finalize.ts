import { createHash } from "node:crypto";
import { LabelmillError } from "../errors.ts";
import type { Compactions } from "../runs/compactions.ts";
import type { Devices, RunLedger } from "../runs/ledger/ledger.ts";
import { endState, isEnded } from "../runs/state.ts";
import { type PassedOverReport, sumPassedOver } from "../schemas/input.ts";
import { type FailedSlice, type Manifest, ManifestSchema, type PartLine, type Range } from "../schemas/manifest.ts";
import { FILES_FILE, MANIFEST_FILE, PARTS_FILE, partKey, SUCCESS_FILE } from "../schemas/names.ts";
import { isCompacted } from "../schemas/output.ts";
import type { RunFile, RunState } from "../schemas/run.ts";
import { SOFTWARE } from "../software.ts";
import type { ObjectStore } from "../storage/store.ts";
import { clearParts } from "./clear.ts";
import { columnTypes, rangesOf } from "./compact.ts";
import { FileTally } from "./file-tally.ts";
import { encodeJson, readRunFile } from "./output.ts";
import { noteRetry, retriedUris } from "./retries.ts";

const MAX_LISTED_FAILURES = 100;

/**
 * Closes a run whose slices have all ended: `_parts.jsonl`, then `_manifest.json`, then, if no slice failed for good,
 * `_SUCCESS`. Where output files were asked for and no slice failed, it has them made first, and comes again when they are: it lists
 * them (`_files.jsonl`), and removes the parts after `_SUCCESS`. Every step may be done again: a finalizer that dies is followed by another.
 * @returns the run's end state, or undefined where the run is not (or no more) ready for it
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
      `${store.uri} was to hold the run ${run}, but holds ${runFile?.run ?? "none"}`,
    );

  // What is not all there is not made into files: the same command labels the rest first.
  const compacted = isCompacted(runFile.spec.output) && progress.failed === 0;
  const ranges = () => rangesOf(ledger.slices(run, progress.slices!), runFile.spec.output.targetBytes);
  if (compacted && !(await compactions.ask(run, progress.output, ranges()))) return undefined;

  const tally = new Tally(runFile);
  const files = new FileTally();
  if (compacted) await store.put(FILES_FILE, files.lines(compactions.files(run)));
  await store.put(PARTS_FILE, tally.lines(ledger.slices(run, progress.slices)));
  const [counts, devices, planned] = await Promise.all([
    ledger.counts(run),
    ledger.devices(run),
    ledger.passedOver(run),
  ]);
  const passedOver = sumPassedOver([...(runFile.passedOver ? [runFile.passedOver] : []), planned]);
  const inferSeconds = progress.inferMs / 1000;
  const made = compacted ? { ...files.sums(), ...(await columnsOf(runFile, compactions)) } : {};
  const manifest = tally.manifest({ ...counts, devices, inferSeconds, passedOver, ...made }, store.conditionalWrites);
  await store.put(MANIFEST_FILE, encodeJson(manifest));
  if (manifest.state !== "failed") await store.put(SUCCESS_FILE, new Uint8Array());
  const { retryOf } = runFile;
  if (retryOf && manifest.state !== "failed")
    await noteRetry(await openStore(retriedUris(store.uri, retryOf.retry).output), retryOf.retry, manifest);
  // Before the run's end is noted: a finalizer that dies here is followed by another.
  if (compacted) await clearParts(store);
  await ledger.transition(run, manifest.state);
  if (manifest.state !== "failed") await Promise.all([ledger.retire(run), compactions.retire(run)]);
  await ledger.announce(run);
  return manifest.state;
}

async function columnsOf(runFile: RunFile, compactions: Compactions): Promise<Pick<Manifest, "columns">> {
  const { format } = runFile.spec.output;
  return format === "parquet" ? { columns: Object.fromEntries(await columnTypes(runFile, compactions)) } : {};
}

/** Adds up the run while its part lines stream by, so that memory does not grow with the number of parts. */
class Tally {
  readonly #runFile: RunFile;
  readonly #hash = createHash("sha256");
  readonly #records: number[];
  readonly #failed: FailedSlice[] = [];
  readonly #totals = { slices: 0, planned: 0, labeled: 0, errors: 0, bytes: 0 };
  #failedSlices = 0;

  constructor(runFile: RunFile) {
    this.#runFile = runFile;
    this.#records = runFile.inputs.map(() => 0);
  }

  async *lines(slices: ReturnType<RunLedger["slices"]>): AsyncGenerator<Uint8Array> {
    const { run, spec } = this.#runFile;
    for await (const { slice, planned, receipt, failed } of slices) {
      this.#count(planned);
      if (receipt) {
        this.#totals.labeled += receipt.rows - receipt.errors;
        this.#totals.errors += receipt.errors;
        this.#totals.bytes += receipt.bytes;
        const line: PartLine = { slice, key: partKey(run, slice, isCompacted(spec.output)), planned, ...receipt };
        const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
        this.#hash.update(bytes);
        yield bytes;
      } else if (failed) {
        this.#failedSlices += 1;
        if (this.#failed.length < MAX_LISTED_FAILURES) this.#failed.push({ slice, planned, ...failed });
      } else {
        throw new LabelmillError("INTERNAL", `slice ${slice} of run ${this.#runFile.run} has not ended`);
      }
    }
  }

  manifest(
    {
      inferSeconds,
      ...counts
    }: {
      labels: Record<string, number>;
      errorCodes: Record<string, number>;
      devices: Devices;
      inferSeconds: number;
      passedOver: PassedOverReport;
    } & Pick<Manifest, "files" | "filesSha256" | "columns">,
    conditionalWrites: boolean,
  ): Manifest {
    const { schemaVersion, run, createdAt, spec, settings, inputs } = this.#runFile;
    const { model, ...how } = spec;
    const finishedAt = new Date().toISOString();
    const [first] = this.#failed;
    // The two clocks may be those of two machines.
    const seconds = Math.max(0, (Date.parse(finishedAt) - Date.parse(createdAt)) / 1000);
    return ManifestSchema.parse({
      schemaVersion,
      run,
      state: endState({ errors: this.#totals.errors, failedSlices: this.#failedSlices }),
      software: SOFTWARE,
      model,
      createdAt,
      finishedAt,
      inputs: inputs.map(({ uri, size, modifiedAt, hash }, i) => ({
        uri,
        size,
        modifiedAt,
        hash,
        records: this.#records[i],
      })),
      totals: this.#totals,
      ...counts,
      failed: this.#failed,
      failedSlices: this.#failedSlices,
      ...(first ? { failure: { code: first.code, message: first.message } } : {}),
      partsSha256: this.#hash.digest("hex"),
      conditionalWrites,
      settings: { ...how, ...settings },
      timings: { seconds, inferSeconds },
      ...(settings.pricePerHour === undefined ? {} : { cost: costOf(settings.pricePerHour, seconds, this.#totals) }),
    } satisfies Partial<Record<keyof Manifest, unknown>>);
  }

  #count(planned: readonly Range[]): void {
    this.#totals.slices += 1;
    for (const { input, count, selected = count } of planned) {
      this.#totals.planned += selected;
      this.#records[input] = (this.#records[input] ?? 0) + count;
    }
  }
}

function costOf(pricePerHour: number, seconds: number, { labeled, errors }: { labeled: number; errors: number }) {
  const total = (pricePerHour * seconds) / 3600;
  const items = labeled + errors;
  return { pricePerHour, total, perMillionItems: items === 0 ? null : (total / items) * 1e6 };
}
