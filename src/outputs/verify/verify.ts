import { createHash } from "node:crypto";
import { LabelmillError } from "../../errors.ts";
import type { Manifest } from "../../schemas/manifest.ts";
import { MANIFEST_FILE, PARTS_FILE, PARTS_FOLDER, partKey, RUN_FILE, SUCCESS_FILE } from "../../schemas/names.ts";
import { isCompacted } from "../../schemas/output.ts";
import type { RunFile, RunInput } from "../../schemas/run.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { exists, readManifest, readRunFile } from "../output.ts";
import type { OpenStore } from "../retries.ts";
import { FilesCheck } from "./files.ts";
import { partLines } from "./lines.ts";
import { checkPart, UnlistedParts } from "./parts.ts";
import { PlannedRanges } from "./planned-rows.ts";
import { checkRetries } from "./retries.ts";
import { Findings, type Verification } from "./verification.ts";

export type VerifyOptions = {
  /** Counts the records of an input as it is now. If omitted, inputs are not read. */
  inputs?: (input: RunInput) => Promise<number>;
  /** Opens the outputs of retries. If omitted, retries are not checked. */
  openStore?: OpenStore;
};

/**
 * Reads everything in an output again and proves that:
 *
 * - the planned ranges cover each input from its first record to its last;
 * - each (source, record) of the plan has one row in the parts, in order;
 * - labeled rows + rows in error = planned records;
 * - every hash and count is right;
 * - no part exists that the run does not list.
 *
 * Where files were made of the parts, it proves the same of the files. Memory does not grow with the number of parts or
 * files: it is that of the largest part or file, and one bit for each record in the range of a file.
 */
export async function verifyOutput(store: ReadableStore, options: VerifyOptions = {}): Promise<Verification> {
  const findings = new Findings();
  try {
    const runFile = await readRunFile(store);
    const manifest = runFile && (await readManifest(store));
    if (!runFile) findings.problem(`${RUN_FILE} is missing: not an output of labelmill`);
    else if (!manifest) findings.problem(`${MANIFEST_FILE} is missing: the run ${runFile.run} is not finished`);
    else {
      await checkRun(store, runFile, manifest, findings);
      if (options.inputs) await recount(runFile, manifest, options.inputs, findings);
      if (options.openStore) await checkRetries(store, manifest, options.openStore, verifyOutput, findings);
    }
    return findings.result(runFile?.run, manifest?.state);
  } catch (error) {
    if (!(error instanceof LabelmillError) || error.code !== "OUTPUT_FOREIGN") throw error;
    findings.problem(error.message);
    return findings.result(undefined, undefined);
  }
}

async function checkRun(store: ReadableStore, runFile: RunFile, manifest: Manifest, findings: Findings): Promise<void> {
  const { run, inputs } = runFile;
  findings.equal(`run in ${MANIFEST_FILE}`, manifest.run, run);
  findings.equal(`model in ${MANIFEST_FILE}`, manifest.model.digest, runFile.spec.model.digest);
  const seen = new Set<string>();
  for (const { uri } of inputs) {
    if (seen.has(uri)) findings.problem(`${RUN_FILE}: the input ${uri} is listed twice`);
    seen.add(uri);
  }
  await checkRows(store, runFile, manifest, findings);
  checkTotals(manifest, findings);
  findings.equal(`${SUCCESS_FILE} exists`, await exists(store, SUCCESS_FILE), manifest.state !== "failed");
}

/** Checks `_parts.jsonl` and, beside it, the parts that it lists or the files that were made of them. */
async function checkRows(
  store: ReadableStore,
  runFile: RunFile,
  manifest: Manifest,
  findings: Findings,
): Promise<void> {
  const { run, spec, inputs } = runFile;
  const uris = inputs.map(({ uri }) => uri);
  const hash = createHash("sha256");
  const ranges = new PlannedRanges(inputs.length);
  const compacted = isCompacted(spec.output);
  const unlisted = new UnlistedParts(store, compacted ? PARTS_FOLDER : "", findings);
  const files =
    manifest.filesSha256 === undefined ? undefined : await FilesCheck.open(store, runFile, manifest, findings);
  for await (const line of partLines(store, hash, findings)) {
    findings.equal(`${PARTS_FILE}: key of slice ${line.slice}`, line.key, partKey(run, line.slice, compacted));
    ranges.add(line, findings);
    if (files) await files.add(line);
    else {
      await unlisted.upTo(line.key);
      await checkPart(store, line, uris, findings);
    }
  }
  await files?.end();
  await unlisted.rest();
  findings.equal(`hash of ${PARTS_FILE}`, hash.digest("hex"), manifest.partsSha256);
  if (manifest.failedSlices > 0) return;
  manifest.inputs.forEach(({ uri, records }, i) => {
    findings.equal(`records of ${uri} in the parts`, ranges.records(i), records);
  });
}

/** Compares the sums in the manifest with those of the rows. */
function checkTotals({ totals, labels, failedSlices }: Manifest, findings: Findings): void {
  const { parts, planned, labeled, errors } = findings.totals;
  if (failedSlices > 0) findings.problem(`${failedSlices} slices failed permanently: run the same command again`);
  findings.equal("slices in the parts", parts, totals.slices - failedSlices);
  findings.equal("planned records in the parts", planned, labeled + errors);
  if (failedSlices === 0) findings.equal("planned records", totals.planned, totals.labeled + totals.errors);
  findings.equal("labeled rows", labeled, totals.labeled);
  findings.equal("rows in error", errors, totals.errors);
  // A map: a label may have the name of a property that every object has.
  const expected = new Map(Object.entries(labels));
  for (const label of new Set([...findings.labels.keys(), ...expected.keys()]))
    findings.equal(`rows labeled ${label}`, findings.labels.get(label) ?? 0, expected.get(label) ?? 0);
}

/** Counts the records of the inputs again. */
async function recount(
  { inputs, spec }: RunFile,
  manifest: Manifest,
  count: NonNullable<VerifyOptions["inputs"]>,
  findings: Findings,
): Promise<void> {
  for (const [i, input] of inputs.entries()) {
    const now = await count(input);
    const planned = manifest.inputs[i]?.records ?? 0;
    // A limit ends the plan before the end of the inputs.
    if (spec.limit === undefined || now < planned) findings.equal(`records of ${input.uri} now`, now, planned);
  }
}
