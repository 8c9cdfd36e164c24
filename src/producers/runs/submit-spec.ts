import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { type Granted, OutputGrants } from "../../fetch/output-grants.ts";
import { serving } from "../../fleet/registry.ts";
import { readManifest, readRunFile } from "../../outputs/output.ts";
import { RunSpecSchema } from "../../schemas/spec.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import { openToRead } from "../../storage/open.ts";
import { isS3, parseS3Uri, s3Uri } from "../../storage/s3/uri.ts";
import type { HiddenStores } from "./hidden-stores.ts";
import { absolutePath, InputGuard } from "./input-guard.ts";
import { localPath } from "./local-path.ts";
import { asPrefix } from "./output-location.ts";
import type { PrepareDeps } from "./prepare-run.ts";
import type { LabelKind, RunModel } from "./request.ts";
import { checkSpec, requestOf } from "./spec.ts";
import { type SubmitDeps, type Submitted, submitRun } from "./submit-run.ts";

/** How long a submission waits for another one of the same run, in ms. */
const SAME_RUN_WAIT_MS = 30_000;
const LOCKED_RETRY_MS = 100;

export type SpecDeps = Pick<PrepareDeps, "s3" | "settings" | "runs" | "results"> &
  Pick<SubmitDeps, "queuePlan" | "checkFormer"> & {
    /** The id of the run. A submission with the id of a submitted run adds nothing. */
    run: string;
    /** The URI of the store of the server. Without `out` in the spec, the output is its folder `RUN/`. */
    output: string;
    /** The stores of the server. A spec may not name them. */
    hidden: HiddenStores;
    workers: readonly WorkerInfo[];
    /** What the server was granted. It decides while no worker serves the model. */
    granted: Granted;
    /** Local paths are the same on all workers and for the server. */
    sharedFiles: boolean;
    /** Finds a model that workers serve or the server declares. @throws LabelmillError NO_WORKER */
    choose(kind: LabelKind, name: string | undefined): Promise<RunModel>;
  };

/**
 * Submits a run for a caller whose rights are less than those of this process, as over HTTP. The spec may name only what the workers
 * were granted, models that are served or declared, and outputs outside of the stores of the server.
 * @param value the spec, not validated
 * @throws LabelmillError SPEC_INVALID (with the key), NO_WORKER, NOT_GRANTED, LOCAL_PATH_REMOTE_WORKER, and what `submitRun` throws
 */
export async function submitSpec(value: unknown, deps: SpecDeps, signal: AbortSignal): Promise<Submitted> {
  const invalid = (issue: string) => new LabelmillError("SPEC_INVALID", `the spec: ${issue}`);
  const { request, settings } = requestOf(checkSpec(RunSpecSchema, value, invalid));
  const model = await deps.choose(request.kind, request.model);
  const { dtype = "auto", ...sliceSettings } = settings;
  if (dtype !== "auto" && dtype !== model.pin.dtype)
    throw invalid(`dtype: expected ${model.pin.dtype}, which the model ${model.pin.id} has, got ${dtype}`);

  const able = serving(deps.workers, model.pin.digest);
  const grants: readonly Granted[] = able.length > 0 ? able.map(grantsOf) : [deps.granted];
  const { output, run, hidden, sharedFiles } = deps;
  const isOwnOutput = request.out === undefined;
  const out = request.out === undefined ? `${output}${run}/` : await outputOf(request.out, grants, deps);
  const before = isOwnOutput ? await submittedBefore(out, deps) : undefined;
  if (before) return before;

  const guard = new InputGuard({ grants, hidden, sharedFiles });
  const { fileRoots } = deps.granted;
  const submitDeps: SubmitDeps = {
    ...deps,
    inputs: { fileRoots, s3: guard.guarded(deps.s3), checkName: (kind, name) => guard.checkName(kind, name) },
    ownWorker: false,
    choose: async () => model,
    settings: { ...deps.settings, ...sliceSettings },
    embedded: false,
    sharedOutput: isOwnOutput || sharedFiles,
    say: () => {},
    reportPassedOver: () => {},
  };
  const place = out.startsWith("file:") ? fileURLToPath(out) : out;
  const wanted = { ...request, out: place, sharedFiles, queueAnyway: able.length === 0 };
  const giveUpAt = performance.now() + SAME_RUN_WAIT_MS;
  for (;;) {
    try {
      return await submitRun(wanted, submitDeps, signal);
    } catch (error) {
      // Another process submits the same run, for a request that was sent twice.
      const isLocked = error instanceof LabelmillError && error.code === "OUTPUT_LOCKED";
      if (!isLocked || !isOwnOutput || performance.now() > giveUpAt) throw error;
      await delay(LOCKED_RETRY_MS, undefined, { signal });
      const other = await submittedBefore(out, deps);
      if (other) return other;
    }
  }
}

function grantsOf({ fileRoots, s3Roots, outputRoots }: WorkerInfo): Granted {
  return { fileRoots, s3Roots, ...(outputRoots ? { outputRoots } : {}) };
}

/** The URI of an output that a spec names. @throws LabelmillError NOT_GRANTED, LOCAL_PATH_REMOTE_WORKER */
async function outputOf(
  out: string,
  grants: readonly Granted[],
  { hidden, sharedFiles }: Pick<SpecDeps, "hidden" | "sharedFiles">,
): Promise<string> {
  if (isS3(out)) {
    const at = parseS3Uri(asPrefix(out));
    const uri = s3Uri(at);
    for (const each of grants) await new OutputGrants(each).check(uri);
    hidden.checkS3(at);
    return uri;
  }
  if (!sharedFiles) throw localPath(`the output ${out}`, "choose an output on S3, or none");
  const path = absolutePath(out);
  const uri = pathToFileURL(path).href;
  for (const each of grants) await new OutputGrants(each).check(uri);
  await hidden.checkFile(uri);
  return uri;
}

/** The run, if an earlier submission wrote its `_run.json`. Its planning is queued again: that submission may have died before. */
async function submittedBefore(out: string, { run, s3, queuePlan }: SpecDeps): Promise<Submitted | undefined> {
  const store = await openToRead(out, s3).catch((error: unknown) => {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
    throw error;
  });
  const runFile = store && (await readRunFile(store));
  if (runFile?.run !== run) return undefined;
  const manifest = await readManifest(store!);
  if (manifest?.run === run) return { run, out, state: manifest.state, passedOver: manifest.passedOver };
  await queuePlan(run, out);
  return { run, out, state: "planning", passedOver: runFile.passedOver };
}
