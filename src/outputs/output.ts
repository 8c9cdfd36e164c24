import { z } from "zod";
import { LabelmillError, messageOf } from "../errors.ts";
import { type Manifest, ManifestSchema } from "../schemas/manifest.ts";
import { MANIFEST_FILE, RUN_FILE } from "../schemas/names.ts";
import { type RunFile, RunFileSchema } from "../schemas/run.ts";
import type { ReadableStore } from "../storage/store.ts";

/** @returns undefined if there is no `_run.json` @throws LabelmillError OUTPUT_FOREIGN if it is invalid */
export async function readRunFile(store: ReadableStore): Promise<RunFile | undefined> {
  return readJson(store, RUN_FILE, (value) => RunFileSchema.parse(value));
}

/** @returns undefined if there is no `_manifest.json` @throws LabelmillError OUTPUT_FOREIGN if it is invalid */
export async function readManifest(store: ReadableStore): Promise<Manifest | undefined> {
  return readJson(store, MANIFEST_FILE, (value) => ManifestSchema.parse(value));
}

/**
 * Reads the files of a finished run.
 * @throws LabelmillError RUN_FAILED if there is no run, or it is not finished, or it failed
 */
export async function readFinished(store: ReadableStore): Promise<{ runFile: RunFile; manifest: Manifest }> {
  const [runFile, manifest] = [await readRunFile(store), await readManifest(store)];
  if (runFile && manifest && manifest.state !== "failed" && manifest.run === runFile.run) return { runFile, manifest };
  throw new LabelmillError("RUN_FAILED", `${store.uri} holds no finished run: finish the run first`);
}

export async function exists(store: ReadableStore, key: string): Promise<boolean> {
  for await (const found of store.list(key)) if (found.key === key) return true;
  return false;
}

/** @returns undefined if the object does not exist */
export async function getIfExists(store: ReadableStore, key: string): Promise<Uint8Array | undefined> {
  try {
    return await store.get(key);
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
    throw error;
  }
}

/** A value as the files of an output hold it. */
export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, undefined, 1)}\n`);
}

async function readJson<T>(store: ReadableStore, key: string, parse: (value: unknown) => T): Promise<T | undefined> {
  const bytes = await getIfExists(store, key);
  if (!bytes) return undefined;
  try {
    return parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    const reason =
      error instanceof z.ZodError ? z.prettifyError(error).split("\n").slice(0, 2).join(" ") : messageOf(error);
    throw new LabelmillError("OUTPUT_FOREIGN", `${store.uri}${key} is not a file that labelmill writes: ${reason}`, {
      cause: error,
    });
  }
}
