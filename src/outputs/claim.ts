import { isDeepStrictEqual } from "node:util";
import { LabelmillError } from "../errors.ts";
import type { Manifest } from "../schemas/manifest.ts";
import { JOURNAL_FILE, LOCK_FILE, RUN_FILE, SUCCESS_FILE } from "../schemas/names.ts";
import type { RunFile } from "../schemas/run.ts";
import type { ObjectStore, ReadableStore } from "../storage/store.ts";
import { clearOutput, clearParts } from "./clear.ts";
import { encodeJson, exists, readManifest, readRunFile } from "./output.ts";
import { whyNotResumable } from "./resumable.ts";

/**
 * What a run finds in its output. `runFile` is the run that the output is for.
 *
 * - `new`: the output is empty, or the run has claimed it already.
 * - `unfinished`: a run can be continued.
 * - `finished`: nothing is left to do.
 * - `abandoned`: another run, `former`, claimed the output and wrote no part. It has ended or never began, so it can be
 *   replaced.
 */
export type OpenedOutput =
  | { kind: "new" | "unfinished"; runFile: RunFile }
  | { kind: "abandoned"; runFile: RunFile; former: RunFile }
  | { kind: "finished"; runFile: RunFile; manifest: Manifest };

/** Whether a run is still in progress. */
export type Liveness = "live" | "dead" | "unknown";

/**
 * Finds out whether a run can have an output. Changes nothing there.
 * @param livenessOf is called for a run that claimed the output, wrote no part and differs from `wanted`
 * @throws LabelmillError OUTPUT_FOREIGN (the output holds something else), OUTPUT_LOCKED (such a run is in progress),
 * SPEC_DIFFERS (another run, with all differences), OUTPUT_NOT_RESUMABLE (standard input cannot be read again)
 */
export async function inspectOutput(
  store: ReadableStore,
  wanted: RunFile,
  livenessOf: (runFile: RunFile) => Promise<Liveness> = async () => "unknown",
): Promise<OpenedOutput> {
  const runFile = await readRunFile(store);
  if (!runFile) {
    await checkEmpty(store);
    return { kind: "new", runFile: wanted };
  }
  if (runFile.run === wanted.run) return { kind: "new", runFile };

  const refusal = whyNotResumable(store, runFile, wanted);
  if (refusal) {
    const liveness = (await hasParts(store)) ? "unknown" : await livenessOf(runFile);
    if (liveness === "dead") return { kind: "abandoned", runFile: wanted, former: runFile };
    if (liveness === "unknown") throw refusal;
    const { run } = runFile;
    throw new LabelmillError(
      "OUTPUT_LOCKED",
      `${store.uri} is claimed by the run ${run}, which is in progress and has no part yet: wait for it (labelmill run watch ${run}), end it (labelmill run cancel ${run}), or choose another --out`,
    );
  }
  const manifest = await readManifest(store);
  if (manifest && (await exists(store, SUCCESS_FILE))) return { kind: "finished", runFile, manifest };
  return { kind: "unfinished", runFile: { ...runFile, settings: wanted.settings } };
}

/**
 * Claims an output for a run, or continues the run that has claimed it. The caller must have the lease of the output.
 * @param found the result of `inspectOutput`
 * @returns the content of `_run.json`
 */
export async function claimOutput(store: ObjectStore, found: OpenedOutput): Promise<RunFile> {
  const { runFile } = found;
  if (found.kind === "finished") {
    // If Redis was lost right after `_SUCCESS` was written, no job is left to remove them.
    if (found.manifest.filesSha256 !== undefined) await clearParts(store);
    return runFile;
  }
  if (found.kind === "abandoned") await clearOutput(store);
  if (await store.putIfAbsent(RUN_FILE, encodeJson(runFile))) return runFile;
  const stored = (await readRunFile(store))!;
  if (stored.run !== runFile.run)
    throw new LabelmillError(
      "OUTPUT_LOCKED",
      `${store.uri} was claimed by the run ${stored.run} in the meantime: try again`,
    );
  // The settings of the latest command apply. Workers that plan the run read them here.
  if (!isDeepStrictEqual(stored.settings, runFile.settings)) await store.put(RUN_FILE, encodeJson(runFile));
  return runFile;
}

/** Inspects an output and claims it. @throws LabelmillError as `inspectOutput` and `claimOutput` do */
export async function openOutput(store: ObjectStore, wanted: RunFile): Promise<OpenedOutput> {
  const found = await inspectOutput(store, wanted);
  await claimOutput(store, found);
  return found;
}

/** @throws LabelmillError OUTPUT_FOREIGN */
async function checkEmpty(store: ReadableStore): Promise<void> {
  for await (const { key } of store.list("")) {
    if (key.startsWith(LOCK_FILE)) continue;
    throw new LabelmillError(
      "OUTPUT_FOREIGN",
      `${store.uri} holds ${key} and no ${RUN_FILE}, so it is not an output of labelmill: choose an empty or new folder`,
    );
  }
}

/** Whether an output holds anything but the claim of a run. */
async function hasParts(store: ReadableStore): Promise<boolean> {
  for await (const { key } of store.list(""))
    if (key !== RUN_FILE && key !== JOURNAL_FILE && !key.startsWith(LOCK_FILE)) return true;
  return false;
}
