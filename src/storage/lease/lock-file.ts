import { rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError, systemCode } from "../../errors.ts";
import { isNoLinks, linkIfAbsent, remove } from "../fs/atomic-write.ts";
import { LOCK_TIMES } from "./held-lock.ts";
import { encodeHolder, type Holder, hasEnded, isOnThisMachine, type LockRecord, readLock } from "./lock-holder.ts";

/** A try fails only when another process has changed the lock at the same time. */
const MAX_TRIES = 100;

/** The file of a lock, and the files with which processes claim to succeed its dead holder. */
export type LockFile = { path: string; claim(token: string): string };

/** The lock with this name in a folder. */
export function lockFile(folder: string, name: string): LockFile {
  return { path: join(folder, name), claim: (token) => join(folder, `.${name}.${token}.claim`) };
}

/**
 * A lock file names its holder. The right to succeed a dead holder is a file too: a claim, named by the dead holder's token and
 * created exclusively. So only one process may replace the lock file. If it dies before, it is succeeded in the same way. Dead
 * holders form a chain, and the last one decides.
 *
 * A late claim on a chain that was replaced since is harmless: a process reads the chain again before it changes the lock file,
 * and while that file is unchanged, only the holder of its claim may change it.
 *
 * @param aside a file with the encoded `holder`, written a moment ago
 * @returns undefined: the lock is ours; otherwise the record of its living holder
 * @throws LabelmillError OUTPUT_LOCKED if the lock changes too often, OUTPUT_FOREIGN if the file is not a lock
 */
export async function takeLock(lock: LockFile, aside: string, holder: Holder): Promise<LockRecord | undefined> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const chain = await readChain(lock);
    const last = chain.at(-1);
    if (!last) {
      if (await claim(aside, lock.path, holder)) return undefined;
      continue;
    }
    if (!(await isDead(last, aside))) return last;
    if (await takeOver(lock, aside, holder, chain)) return undefined;
  }
  throw new LabelmillError("OUTPUT_LOCKED", `${lock.path}: too many processes want this lock at once: try again`);
}

/** Removes a lock file if it still has our token. */
export async function removeOurs(path: string, token: string): Promise<void> {
  if ((await readLock(path))?.token === token) await rm(path, { force: true });
}

/** @returns false if another process changed the chain meanwhile: read it again */
async function takeOver(lock: LockFile, aside: string, holder: Holder, chain: LockRecord[]): Promise<boolean> {
  const tokens = chain.map(({ token }) => token);
  const ourClaim = lock.claim(tokens.at(-1)!);
  if (!(await claim(aside, ourClaim, holder))) return false;
  try {
    const now = (await readChain(lock)).map(({ token }) => token);
    if (now.join() !== [...tokens, holder.token].join()) return false;
    await rename(aside, lock.path);
    for (const token of tokens.slice(0, -1)) await remove(lock.claim(token));
    return true;
  } finally {
    await remove(ourClaim);
  }
}

/** The holder in the lock file and, in order, the claims to succeed it. */
async function readChain(lock: LockFile): Promise<LockRecord[]> {
  const chain: LockRecord[] = [];
  let held = await readLock(lock.path);
  while (held && chain.length < MAX_TRIES) {
    chain.push(held);
    held = await readLock(lock.claim(held.token));
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
