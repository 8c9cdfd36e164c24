import { constants } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { LabelmillError, systemCode } from "../../errors.ts";
import { LOCK_FILE } from "../../schemas/names.ts";
import { asidePath, remove } from "../fs/atomic-write.ts";
import { storeError } from "../fs/error.ts";
import { makeFolders } from "../fs/folders.ts";
import { HeldLock, type LockOwner } from "./held-lock.ts";
import type { OutputLock } from "./lock.ts";
import { lockFile, removeOurs, takeLock } from "./lock-file.ts";
import { encodeHolder, type Holder, lockedBy, newHolder } from "./lock-holder.ts";

/**
 * Takes the exclusive lock of an output folder: the file `_lock` in it. The folder is made if it does not exist. A holder on
 * this machine loses the lock as soon as its process has ended; a holder elsewhere, 60 s after its last renewal.
 * @throws LabelmillError OUTPUT_LOCKED (another command holds it), OUTPUT_FOREIGN (`_lock` is another file), STORE_FAILED
 */
export async function lockOutput(folder: string): Promise<OutputLock> {
  const file = lockFile(folder, LOCK_FILE);
  const lock = file.path;
  const aside = asidePath(folder, LOCK_FILE);
  const holder = await newHolder();
  try {
    await makeFolders(folder);
    // Not synced: a crash of the machine leaves at most a torn file of a dead command, which the next command handles.
    await writeFile(aside, encodeHolder(holder), { flag: "wx" });
    const other = await takeLock(file, aside, holder);
    if (other) throw lockedBy(folder, other);
    return new HeldLock({
      place: lock,
      renew: () => renew(lock, holder),
      remove: () => end(lock, holder.token),
    });
  } catch (error) {
    // We may hold the lock although a later step failed. No command could take it while this process runs.
    await removeOurs(lock, holder.token).catch(() => {});
    throw storeError(error, "lock", folder);
  } finally {
    await remove(aside);
  }
}

/** Writes the same bytes again: this sets the file's time by the file system's own clock. */
async function renew(path: string, holder: Holder): Promise<LockOwner> {
  const bytes = encodeHolder(holder);
  try {
    const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      if (!(await file.readFile()).equals(bytes)) return "taken";
      await file.write(bytes, 0, bytes.length, 0);
      return "ours";
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "removed";
    throw error;
  }
}

async function end(path: string, token: string): Promise<void> {
  try {
    await removeOurs(path, token);
  } catch (error) {
    // OUTPUT_FOREIGN: another file is there by now, so there is no lock of ours to remove.
    if (error instanceof LabelmillError) return;
    throw storeError(error, "lock", path);
  }
}
