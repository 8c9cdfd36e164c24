import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { LabelmillError, messageOf } from "../errors.ts";
import { type Manifest, ManifestSchema } from "../schemas/manifest.ts";
import { LOCK_FILE, MANIFEST_FILE, RUN_FILE, SUCCESS_FILE } from "../schemas/names.ts";
import { type RunFile, RunFileSchema, type RunInput } from "../schemas/run.ts";
import type { ObjectStore } from "../storage/store.ts";
import { clearParts } from "./clear.ts";

/** `new`: nothing was there. `unfinished`: the run is to be taken up where it is. `finished`: there is nothing left to do. */
export type OpenedOutput =
  | { kind: "new" | "unfinished"; runFile: RunFile }
  | { kind: "finished"; runFile: RunFile; manifest: Manifest };

/**
 * Claims an output for a run, or finds the run that has it.
 * @throws LabelmillError OUTPUT_FOREIGN (something else is there), SPEC_DIFFERS (another run's; all differences named),
 * OUTPUT_NOT_RESUMABLE (standard input cannot be read again)
 */
export async function openOutput(store: ObjectStore, wanted: RunFile): Promise<OpenedOutput> {
  const runFile = (await readRunFile(store)) ?? (await claim(store, wanted));
  if (runFile.run === wanted.run) return { kind: "new", runFile };

  if (runFile.inputs.some((input) => input.uri === "stdin:") || wanted.inputs.some((input) => input.uri === "stdin:"))
    throw new LabelmillError(
      "OUTPUT_NOT_RESUMABLE",
      `${store.uri} holds a run already, and standard input cannot be compared with what that run read: choose another --out`,
    );
  const differences = [
    ...differencesIn("spec", runFile.spec, wanted.spec),
    ...inputDifferences(runFile.inputs, wanted.inputs),
  ];
  if (differences.length > 0)
    throw new LabelmillError(
      "SPEC_DIFFERS",
      `${store.uri} holds the run ${runFile.run}, which differs from what is asked now:\n${differences.map((line) => `  ${line}`).join("\n")}\nChoose another --out, ask for the same again, or replace it (--overwrite)`,
    );
  const manifest = await readManifest(store);
  if (manifest && (await exists(store, SUCCESS_FILE))) {
    // A Redis that was lost right after the proof took along what would have removed them.
    if (manifest.filesSha256 !== undefined) await clearParts(store);
    return { kind: "finished", runFile, manifest };
  }
  const { settings } = wanted;
  if (isDeepStrictEqual(runFile.settings, settings)) return { kind: "unfinished", runFile };
  // How the rest is done is for this command to say: whoever plans it elsewhere reads it there.
  await store.put(RUN_FILE, encodeJson({ ...runFile, settings }));
  return { kind: "unfinished", runFile: { ...runFile, settings } };
}

/** @returns undefined where there is no `_run.json` */
export async function readRunFile(store: ObjectStore): Promise<RunFile | undefined> {
  return readJson(store, RUN_FILE, (value) => RunFileSchema.parse(value));
}

/** @returns undefined where there is no `_manifest.json` */
export async function readManifest(store: ObjectStore): Promise<Manifest | undefined> {
  return readJson(store, MANIFEST_FILE, (value) => ManifestSchema.parse(value));
}

/** What a finished run says of itself. @throws LabelmillError RUN_FAILED (none is there, it is not finished, or it failed) */
export async function readFinished(store: ObjectStore): Promise<{ runFile: RunFile; manifest: Manifest }> {
  const [runFile, manifest] = [await readRunFile(store), await readManifest(store)];
  if (runFile && manifest && manifest.state !== "failed" && manifest.run === runFile.run) return { runFile, manifest };
  throw new LabelmillError("RUN_FAILED", `${store.uri} holds no run that is finished: finish it first`);
}

export async function exists(store: ObjectStore, key: string): Promise<boolean> {
  for await (const found of store.list(key)) if (found.key === key) return true;
  return false;
}

export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, undefined, 1)}\n`);
}

/** The object, or undefined where there is none. */
export async function getIfThere(store: ObjectStore, key: string): Promise<Uint8Array | undefined> {
  try {
    return await store.get(key);
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
    throw error;
  }
}

async function claim(store: ObjectStore, wanted: RunFile): Promise<RunFile> {
  for await (const { key } of store.list("")) {
    if (key.startsWith(LOCK_FILE)) continue;
    // Another command may have claimed the output between our look and now.
    const theirs = await readRunFile(store);
    if (theirs) return theirs;
    throw new LabelmillError(
      "OUTPUT_FOREIGN",
      `${store.uri} holds ${key} and no ${RUN_FILE}, so it is not an output of labelmill: choose an empty or new folder`,
    );
  }
  if (await store.putIfAbsent(RUN_FILE, encodeJson(wanted))) return wanted;
  return (await readRunFile(store))!;
}

async function readJson<T>(store: ObjectStore, key: string, parse: (value: unknown) => T): Promise<T | undefined> {
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
