import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { LabelmillError, messageOf } from "../errors.ts";
import { type Manifest, ManifestSchema } from "../schemas/manifest.ts";
import { JOURNAL_FILE, LOCK_FILE, MANIFEST_FILE, RUN_FILE, SUCCESS_FILE } from "../schemas/names.ts";
import { type RunFile, RunFileSchema, type RunInput } from "../schemas/run.ts";
import type { ObjectStore, ReadableStore } from "../storage/store.ts";
import { clearOutput, clearParts } from "./clear.ts";

/**
 * `new`: the output is free. `unfinished`: the run is to be taken up where it is. `finished`: there is nothing left to do.
 * `abandoned`: another run claimed the output, wrote no part and has ended or never began: `runFile` may take its place.
 */
export type OpenedOutput =
  | { kind: "new" | "unfinished"; runFile: RunFile }
  | { kind: "abandoned"; runFile: RunFile; former: RunFile }
  | { kind: "finished"; runFile: RunFile; manifest: Manifest };

/** Whether a run is under way, as far as that is known. */
export type Liveness = "live" | "dead" | "unknown";

/**
 * Finds out what a run meets in an output; changes nothing there.
 * @param livenessOf asked of a run that claimed the output, wrote no part and differs from `wanted`
 * @throws LabelmillError OUTPUT_FOREIGN (something else is there), OUTPUT_LOCKED (such a run is under way), SPEC_DIFFERS (another
 * run's; all differences named), OUTPUT_NOT_RESUMABLE (standard input cannot be read again)
 */
export async function lookAtOutput(
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
      `${store.uri} is claimed by the run ${run}, which is under way and has no part yet: wait for it (labelmill run watch ${run}), end it (labelmill run cancel ${run}), or choose another --out`,
    );
  }
  const manifest = await readManifest(store);
  if (manifest && (await exists(store, SUCCESS_FILE))) return { kind: "finished", runFile, manifest };
  return { kind: "unfinished", runFile: { ...runFile, settings: wanted.settings } };
}

/**
 * Makes an output a run's, or goes on with the run that has it. The caller holds the output's lock.
 * @param found what `lookAtOutput` found
 * @returns the `_run.json` that stands
 */
export async function claimOutput(store: ObjectStore, found: OpenedOutput): Promise<RunFile> {
  const { runFile } = found;
  if (found.kind === "finished") {
    // A Redis that was lost right after the proof took along what would have removed them.
    if (found.manifest.filesSha256 !== undefined) await clearParts(store);
    return runFile;
  }
  if (found.kind === "abandoned") await clearOutput(store);
  if (await store.putIfAbsent(RUN_FILE, encodeJson(runFile))) return runFile;
  const theirs = (await readRunFile(store))!;
  if (theirs.run !== runFile.run)
    throw new LabelmillError("OUTPUT_LOCKED", `${store.uri} was claimed by the run ${theirs.run} meanwhile: try again`);
  // How the rest is done is for this command to say: a worker that plans the run reads it there.
  if (!isDeepStrictEqual(theirs.settings, runFile.settings)) await store.put(RUN_FILE, encodeJson(runFile));
  return runFile;
}

/** Looks at an output and claims it. @throws LabelmillError as `lookAtOutput` */
export async function openOutput(store: ObjectStore, wanted: RunFile): Promise<OpenedOutput> {
  const found = await lookAtOutput(store, wanted);
  await claimOutput(store, found);
  return found;
}

/** @returns undefined where there is no `_run.json` */
export async function readRunFile(store: ReadableStore): Promise<RunFile | undefined> {
  return readJson(store, RUN_FILE, (value) => RunFileSchema.parse(value));
}

/** @returns undefined where there is no `_manifest.json` */
export async function readManifest(store: ReadableStore): Promise<Manifest | undefined> {
  return readJson(store, MANIFEST_FILE, (value) => ManifestSchema.parse(value));
}

/** What a finished run says of itself. @throws LabelmillError RUN_FAILED (none is there, it is not finished, or it failed) */
export async function readFinished(store: ReadableStore): Promise<{ runFile: RunFile; manifest: Manifest }> {
  const [runFile, manifest] = [await readRunFile(store), await readManifest(store)];
  if (runFile && manifest && manifest.state !== "failed" && manifest.run === runFile.run) return { runFile, manifest };
  throw new LabelmillError("RUN_FAILED", `${store.uri} holds no run that is finished: finish it first`);
}

export async function exists(store: ReadableStore, key: string): Promise<boolean> {
  for await (const found of store.list(key)) if (found.key === key) return true;
  return false;
}

export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, undefined, 1)}\n`);
}

/** The object, or undefined where there is none. */
export async function getIfThere(store: ReadableStore, key: string): Promise<Uint8Array | undefined> {
  try {
    return await store.get(key);
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
    throw error;
  }
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

/** Whether anything but a run's claim lies in an output. */
async function hasParts(store: ReadableStore): Promise<boolean> {
  for await (const { key } of store.list(""))
    if (key !== RUN_FILE && key !== JOURNAL_FILE && !key.startsWith(LOCK_FILE)) return true;
  return false;
}

/** Why the run of an output cannot be gone on with as what is wanted now; undefined where it can. */
function whyNotResumable(store: ReadableStore, runFile: RunFile, wanted: RunFile): LabelmillError | undefined {
  if (runFile.inputs.some((input) => input.uri === "stdin:") || wanted.inputs.some((input) => input.uri === "stdin:"))
    return new LabelmillError(
      "OUTPUT_NOT_RESUMABLE",
      `${store.uri} holds a run already, and standard input cannot be compared with what that run read: choose another --out`,
    );
  const differences = [
    ...differencesIn("spec", runFile.spec, wanted.spec),
    ...inputDifferences(runFile.inputs, wanted.inputs),
  ];
  if (differences.length === 0) return undefined;
  return new LabelmillError(
    "SPEC_DIFFERS",
    `${store.uri} holds the run ${runFile.run}, which differs from what is asked now:\n${differences.map((line) => `  ${line}`).join("\n")}\nChoose another --out, ask for the same again, or replace it (--overwrite)`,
  );
}

async function readJson<T>(store: ReadableStore, key: string, parse: (value: unknown) => T): Promise<T | undefined> {
  const bytes = await getIfThere(store, key);
  if (!bytes) return undefined;
  try {
    return parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    const reason =
      error instanceof z.ZodError ? z.prettifyError(error).split("\n").slice(0, 2).join(" ") : messageOf(error);
    throw new LabelmillError("OUTPUT_FOREIGN", `${store.uri}${key} is not what labelmill writes: ${reason}`, {
      cause: error,
    });
  }
}

function inputDifferences(before: RunInput[], now: RunInput[]): string[] {
  if (before.length !== now.length) return [`inputs: ${before.length} then, ${now.length} now`];
  return before.flatMap((input, i) => differencesIn(`input ${input.uri}`, identityOf(input), identityOf(now[i]!)));
}

/** Not by which name it was opened, nor who reads it: that may differ. Ids are those that the run began with. */
function identityOf({ from: _from, travels: _travels, columns: _columns, idName: _idName, ...identity }: RunInput) {
  return identity;
}

/** Leaf by leaf: `spec.topK: 5 then, 3 now`. */
function differencesIn(path: string, before: unknown, now: unknown): string[] {
  if (isDeepStrictEqual(before, now)) return [];
  if (isPlain(before) && isPlain(now)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])];
    return keys.flatMap((key) => differencesIn(`${path}.${key}`, before[key], now[key]));
  }
  return [`${path}: ${JSON.stringify(before) ?? "none"} then, ${JSON.stringify(now) ?? "none"} now`];
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
