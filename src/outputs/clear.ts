import { LabelmillError } from "../errors.ts";
import {
  FILES_FILE,
  isDataFileKey,
  isPartKey,
  JOURNAL_FILE,
  LOCK_FILE,
  MANIFEST_FILE,
  PARTS_FILE,
  PARTS_FOLDER,
  RETRIES_FOLDER,
  RUN_FILE,
  SUCCESS_FILE,
} from "../schemas/names.ts";
import type { ObjectStore } from "../storage/store.ts";

/** The files of a run, except its `_run.json`. */
const RUN_FILES: ReadonlySet<string> = new Set([SUCCESS_FILE, MANIFEST_FILE, PARTS_FILE, FILES_FILE, JOURNAL_FILE]);

/** Checks that an output holds nothing but files of runs. @throws LabelmillError OUTPUT_FOREIGN */
export async function checkClearable(store: ObjectStore): Promise<void> {
  for await (const { key } of store.list(""))
    if (!isOurs(key) && key !== RUN_FILE && !key.startsWith(LOCK_FILE))
      throw new LabelmillError(
        "OUTPUT_FOREIGN",
        `${store.uri} holds ${key}, which no run wrote, so it is not overwritten: move that file, or choose another --out`,
      );
}

/**
 * Removes the files of runs from an output, and no others. `_SUCCESS` is removed first and `_run.json` last, so that an
 * interrupted removal leaves an unfinished run.
 */
export async function clearOutput(store: ObjectStore): Promise<void> {
  await store.remove(SUCCESS_FILE);
  const keys: string[] = [];
  for await (const { key } of store.list("")) if (isOurs(key)) keys.push(key);
  for (const key of keys) await store.remove(key);
  await store.remove(RUN_FILE);
}

/** Removes the parts that files were made of. The run must have its `_SUCCESS`. */
export async function clearParts(store: ObjectStore): Promise<void> {
  for await (const { key } of store.list(PARTS_FOLDER)) await store.remove(key);
}

function isOurs(key: string): boolean {
  if (RUN_FILES.has(key) || key.startsWith(PARTS_FOLDER) || key.startsWith(RETRIES_FOLDER)) return true;
  // Of any run: if a run was planned again, parts of the first plan are left.
  return isPartKey(key) || isDataFileKey(key);
}
