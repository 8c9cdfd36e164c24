import { createHash } from "node:crypto";
import { LabelmillError } from "../errors.ts";
import { type FailedSlice, type Manifest, ManifestSchema, type PartLine, type Range } from "../schemas/manifest.ts";
import { MANIFEST_FILE, PARTS_FILE, partKey, SUCCESS_FILE } from "../schemas/names.ts";
import type { RunFile, RunState } from "../schemas/run.ts";
import { SOFTWARE } from "../software.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { Devices, RunLedger } from "./ledger.ts";
import { encodeJson, readRunFile } from "./output.ts";
import { endState, isEnded } from "./state.ts";

const MAX_LISTED_FAILURES = 100;

/**
 * Closes a run whose slices have all ended: `_parts.jsonl`, then `_manifest.json`, then, if no slice failed for good,
 * `_SUCCESS`. Every step may be done again: a finalizer that dies is followed by another.
 * @returns the run's end state, or undefined where the run is not (or no more) ready for it
 */
export async function finalizeRun(run: string, store: ObjectStore, ledger: RunLedger): Promise<RunState | undefined> {
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

  const tally = new Tally(runFile);
  await store.put(PARTS_FILE, tally.lines(ledger.slices(run, progress.slices)));
  const [counts, devices] = await Promise.all([ledger.counts(run), ledger.devices(run)]);
  const manifest = tally.manifest({ ...counts, devices }, store.conditionalWrites);
  await store.put(MANIFEST_FILE, encodeJson(manifest));
  if (manifest.state !== "failed") await store.put(SUCCESS_FILE, new Uint8Array());
  await ledger.transition(run, manifest.state);
  if (manifest.state !== "failed") await ledger.retire(run);
  await ledger.announce(run);
  return manifest.state;
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
    for await (const { slice, planned, receipt, failed } of slices) {
      this.#count(planned);
      if (receipt) {
        this.#totals.labeled += receipt.rows - receipt.errors;
        this.#totals.errors += receipt.errors;
        this.#totals.bytes += receipt.bytes;
        const line: PartLine = { slice, key: partKey(this.#runFile.run, slice), planned, ...receipt };
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
    counts: { labels: Record<string, number>; errorCodes: Record<string, number>; devices: Devices },
    conditionalWrites: boolean,
  ): Manifest {
    const { schemaVersion, run, createdAt, spec, inputs } = this.#runFile;
    return ManifestSchema.parse({
      schemaVersion,
      run,
      state: endState({ errors: this.#totals.errors, failedSlices: this.#failedSlices }),
      software: SOFTWARE,
      model: spec.model,
      createdAt,
      finishedAt: new Date().toISOString(),
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
      partsSha256: this.#hash.digest("hex"),
      conditionalWrites,
    } satisfies Record<keyof Manifest, unknown>);
  }

  #count(planned: readonly Range[]): void {
    this.#totals.slices += 1;
    for (const { input, count } of planned) {
      this.#totals.planned += count;
      this.#records[input] = (this.#records[input] ?? 0) + count;
    }
  }
}
