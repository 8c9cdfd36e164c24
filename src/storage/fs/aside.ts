import { randomBytes } from "node:crypto";
import { link, lstat, open, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../../errors.ts";
import type { Body } from "../store.ts";

/** A writer touches its aside as it writes; one that has not for an hour is dead. */
const LEFTOVER_MS = 3_600_000;

/** Of a file system without hard links, FAT for one. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** Of systems that sync no folders, and of a folder that may be written but not read. */
const NO_SYNC = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EISDIR", "EPERM", "EACCES"]);

/**
 * Writes a file beside its place, hidden and safe on the disk, and hands its path to `place`, which links or renames it.
 * Whatever happens, the aside is gone at the end, unless the process is killed. What `place` did to the folder is safe on
 * the disk when this returns.
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

/** Makes `path` a second name of `aside` if nothing is there. @returns whether it did */
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

/** Whether hard links work in a folder. True where it cannot be tried (a read-only folder): writes will say why they fail. */
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

/** Removes what killed writers left in a folder (not below it) an hour ago or earlier. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/^\..+\.[0-9a-f]{16}\.aside$/s.test(name)) continue;
    const path = join(folder, name);
    const found = await lstat(path).catch(() => undefined);
    if (found?.isFile() && found.mtimeMs < Date.now() - LEFTOVER_MS) await remove(path);
  }
}

/** Makes what was created, renamed and removed in a folder safe on the disk, where system and rights allow that. */
export async function syncFolder(folder: string): Promise<void> {
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

/** A new name beside `name`, hidden, that no key and no other aside has. */
export function asidePath(folder: string, name: string): string {
  // Cut so that the whole stays under 255 bytes, the limit of a name, whatever the characters.
  return join(folder, `.${name.slice(0, 60)}.${randomBytes(8).toString("hex")}.aside`);
}

/** What cannot be removed is hidden and goes with the leftovers; the error that brought us here says more. */
export async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => {});
}
