import { constants } from "node:fs";
import { open, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError, systemCode } from "../../errors.ts";
import { LOCK_FILE } from "../../schemas/names.ts";
import { asidePath, isNoLinks, linkIfAbsent, remove } from "../fs/atomic-write.ts";
import { storeError } from "../fs/error.ts";
import { makeFolders } from "../fs/folders.ts";
import { HeldLock, LOCK_TIMES, type LockOwner } from "./held-lock.ts";
import type { OutputLock } from "./lock.ts";
import {
  encodeHolder,
  type Holder,
  hasEnded,
  isOnThisMachine,
  type LockRecord,
  lockedBy,
  newHolder,
  readLock,
} from "./lock-holder.ts";

/** A try fails only when another command has changed the lock at the same time. */
const MAX_TRIES = 100;

/**
 * Takes the exclusive lock of an output folder: the file `_lock` in it. The folder is made if it does not exist. A holder on
 * this machine loses the lock as soon as its process has ended; a holder elsewhere, 60 s after its last renewal.
 * @throws LabelmillError OUTPUT_LOCKED (another command holds it), OUTPUT_FOREIGN (`_lock` is another file), STORE_FAILED
 */
export async function lockOutput(folder: string): Promise<OutputLock> {
  const lock = join(folder, LOCK_FILE);
  const aside = asidePath(folder, LOCK_FILE);
  const holder = await newHolder();
  try {
    await makeFolders(folder);
    // Not synced: a crash of the machine leaves at most a torn file of a dead command, which the next command handles.
    await writeFile(aside, encodeHolder(holder), { flag: "wx" });
    await acquire(folder, aside, holder);
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

/**
 * `_lock` names its holder. The right to succeed a dead holder is a file too: a claim, named by the dead holder's token and
 * created exclusively. So only one command may replace `_lock`. If it dies before, it is succeeded in the same way. Dead
 * holders form a chain, and the last one decides.
 *
 * A late claim on a chain that was replaced since is harmless: a command reads the chain again before it changes `_lock`, and
 * while `_lock` is unchanged, only the holder of its claim may change it.
 */
async function acquire(folder: string, aside: string, holder: Holder): Promise<void> {
  const lock = join(folder, LOCK_FILE);
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const chain = await readChain(folder);
    const last = chain.at(-1);
    if (!last) {
      if (await claim(aside, lock, holder)) return;
      continue;
    }
    if (!(await isDead(last, aside))) throw lockedBy(folder, last);
    if (await takeOver(folder, aside, holder, chain)) return;
  }
  throw new LabelmillError("OUTPUT_LOCKED", `${folder}: too many commands want its lock at once: try again`);
}

/** @returns false if another command changed the chain meanwhile: read it again */
async function takeOver(folder: string, aside: string, holder: Holder, chain: LockRecord[]): Promise<boolean> {
  const tokens = chain.map(({ token }) => token);
  const ourClaim = claimPath(folder, tokens.at(-1)!);
  if (!(await claim(aside, ourClaim, holder))) return false;
  try {
    const now = (await readChain(folder)).map(({ token }) => token);
    if (now.join() !== [...tokens, holder.token].join()) return false;
    await rename(aside, join(folder, LOCK_FILE));
    for (const token of tokens.slice(0, -1)) await remove(claimPath(folder, token));
    return true;
  } finally {
    await remove(ourClaim);
  }
}

/** The holder in `_lock` and, in order, the claims to succeed it. */
async function readChain(folder: string): Promise<LockRecord[]> {
  const chain: LockRecord[] = [];
  let held = await readLock(join(folder, LOCK_FILE));
  while (held && chain.length < MAX_TRIES) {
    chain.push(held);
    held = await readLock(claimPath(folder, held.token));
  }
  return chain;
}

/** @returns whether `place` is now ours */
async function claim(aside: string, place: string, holder: Holder): Promise<boolean> {
  try {
    return await linkIfAbsent(aside, place);
  } catch (error) {
    if (!isNoLinks(error)) throw error;
  }
  try {
    // Exclusive too. A reader that sees an incomplete file treats it as torn and recently renewed, so as held.
    await writeFile(place, encodeHolder(holder), { flag: "wx" });
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function isDead(lock: LockRecord, aside: string): Promise<boolean> {
  if (lock.holder && (await isOnThisMachine(lock.holder))) return hasEnded(lock.holder);
  // The aside file was written a moment ago: both times come from the file system's clock, which may differ from ours.
  return (await stat(aside)).mtimeMs - lock.renewedAt > LOCK_TIMES.staleMs;
}

/** Removes `_lock` if it still has our token. */
async function removeOurs(path: string, token: string): Promise<void> {
  if ((await readLock(path))?.token === token) await rm(path, { force: true });
}

function claimPath(folder: string, token: string): string {
  return join(folder, `.${LOCK_FILE}.${token}.claim`);
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
