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

const RUN_FILES: ReadonlySet<string> = new Set([SUCCESS_FILE, MANIFEST_FILE, PARTS_FILE, FILES_FILE, JOURNAL_FILE]);

/** Whether all that lies in an output is a run's, so that it may be cleared. @throws LabelmillError OUTPUT_FOREIGN, before anything is removed */
export async function checkClearable(store: ObjectStore): Promise<void> {
  for await (const { key } of store.list(""))
    if (!isOurs(key) && key !== RUN_FILE && !key.startsWith(LOCK_FILE))
      throw new LabelmillError(
        "OUTPUT_FOREIGN",
        `${store.uri} holds ${key}, which no run wrote, so it is not overwritten: move that away, or choose another --out`,
      );
}

/**
 * Removes what a run left in its output, and nothing else that may lie there. Its proof goes first and its `_run.json` last: what is left of
 * an interrupted removal is an unfinished run.
 */
export async function clearOutput(store: ObjectStore): Promise<void> {
  await store.remove(SUCCESS_FILE);
  const keys: string[] = [];
  for await (const { key } of store.list("")) if (isOurs(key)) keys.push(key);
  for (const key of keys) await store.remove(key);
  await store.remove(RUN_FILE);
}

/** Removes parts of which files were made: those of a run that has its `_SUCCESS`. */
export async function clearParts(store: ObjectStore): Promise<void> {
  for await (const { key } of store.list(PARTS_FOLDER)) await store.remove(key);
}

function isOurs(key: string): boolean {
  if (RUN_FILES.has(key) || key.startsWith(PARTS_FOLDER) || key.startsWith(RETRIES_FOLDER)) return true;
  // Parts of whatever run: one that was planned anew has left some.
  return isPartKey(key) || isDataFileKey(key);
}
