import { randomBytes } from "node:crypto";
import { link, lstat, open, readdir, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../../errors.ts";
import type { Body } from "../store.ts";

/** A running writer changes its aside file. One without a change for an hour belongs to a dead writer. */
const LEFTOVER_MS = 3_600_000;

/** The error codes of a file system without hard links, such as FAT. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** The error codes of systems that cannot sync folders, and of a folder that may be written but not read. */
const NO_SYNC = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EISDIR", "EPERM", "EACCES"]);

/**
 * Writes a hidden file beside its final place and syncs it. Then `place` receives its path, to link or rename it. The aside
 * file is always removed at the end, unless the process is killed. The changes that `place` made in the folder are synced
 * when this returns.
 */
export async function withAside<T>(
  folder: string,
  name: string,
  body: Body,
  place: (aside: string) => Promise<T>,
): Promise<T> {
  const aside = asidePath(folder, name);
  let placed: T;
  try {
    const file = await open(aside, "wx");
    try {
      await file.writeFile(body);
      await file.sync();
    } finally {
      await file.close();
    }
    placed = await place(aside);
  } finally {
    await remove(aside);
  }
  await syncFolder(folder);
  return placed;
}

/** Makes `path` a second name of `aside` if `path` does not exist. @returns whether it did */
export async function linkIfAbsent(aside: string, path: string): Promise<boolean> {
  try {
    await link(aside, path);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

export function isNoLinks(error: unknown): boolean {
  return NO_LINKS.has(systemCode(error) ?? "");
}

/** Whether hard links work in a folder. True if that cannot be tried (a read-only folder): the error of a write says why. */
export async function linksWork(folder: string): Promise<boolean> {
  const aside = asidePath(folder, "probe");
  const second = asidePath(folder, "probe");
  try {
    await writeFile(aside, "", { flag: "wx" });
    await link(aside, second);
    return true;
  } catch (error) {
    return !isNoLinks(error);
  } finally {
    await remove(aside);
    await remove(second);
  }
}

/** Removes the aside files that killed writers left in a folder (not below it) an hour ago or earlier. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^\..+\.[0-9a-f]{16}\.aside$/s.test(name)) continue;
    const path = join(folder, name);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isFile() && found.mtimeMs < Date.now() - LEFTOVER_MS) await remove(path);
  }
}

/** The running sync of a folder, and the one that begins after it. */
type Syncs = { running: Promise<void>; next: Promise<void> | undefined };
const syncs = new Map<string, Syncs>();

/**
 * Syncs the entries of a folder to the disk, if the system and the rights allow it. Concurrent callers share a sync: one that
 * arrives during a sync gets the next one, which begins after its change.
 */
export function syncFolder(folder: string): Promise<void> {
  const found = syncs.get(folder);
  if (found) {
    found.next ??= found.running.then(() => startSync(folder));
    return found.next;
  }
  return startSync(folder);
}

function startSync(folder: string): Promise<void> {
  const synced = syncNow(folder);
  const entry: Syncs = { running: synced.catch(() => {}), next: undefined };
  syncs.set(folder, entry);
  void entry.running.then(() => {
    if (!entry.next) syncs.delete(folder);
  });
  return synced;
}

async function syncNow(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!NO_SYNC.has(systemCode(error) ?? "")) throw error;
  }
}

/** The path of a new hidden file beside `name`. No key and no other aside file has this name. */
export function asidePath(folder: string, name: string): string {
  // Cut so that the name stays below the limit of 255 bytes with any characters.
  return join(folder, `.${name.slice(0, 60)}.${randomBytes(8).toString("hex")}.aside`);
}

/** A file that cannot be removed stays hidden until `removeLeftovers`. The caller's own error is the more useful one. */
export async function remove(path: string): Promise<void> {
  await unlink(path).catch(() => {});
}
