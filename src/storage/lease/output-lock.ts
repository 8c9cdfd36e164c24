import { constants } from "node:fs";
import { open, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError, systemCode } from "../../errors.ts";
import { LOCK_FILE } from "../../schemas/names.ts";
import { asidePath, isNoLinks, linkIfAbsent, remove } from "../fs/aside.ts";
import { storeError } from "../fs/error.ts";
import { makeFolders } from "../fs/folders.ts";
import { HeldLock, LOCK_TIMES } from "./held-lock.ts";
import type { OutputLock } from "./lock.ts";
import {
  encodeHolder,
  type Held,
  type Holder,
  isGone,
  isOnThisMachine,
  lockedBy,
  newHolder,
  readHeld,
} from "./lock-holder.ts";

/** Each try that fails means that another command got further meanwhile. */
const MAX_TRIES = 100;

/**
 * Takes the exclusive lock of an output folder, which is made if it is not there: the file `_lock` in it. A holder on this
 * machine whose process is gone loses it at once; one elsewhere, 60 s after its last sign of life.
 * @throws LabelmillError OUTPUT_LOCKED (another has it), OUTPUT_FOREIGN (`_lock` is something else), STORE_FAILED
 */
export async function lockOutput(folder: string): Promise<OutputLock> {
  const lock = join(folder, LOCK_FILE);
  const aside = asidePath(folder, LOCK_FILE);
  const holder = await newHolder();
  try {
    await makeFolders(folder);
    // Not synced: what a crash of the machine leaves is a torn file of a command that is gone, and that is dealt with.
    await writeFile(aside, encodeHolder(holder), { flag: "wx" });
    await acquire(folder, aside, holder);
    return new HeldLock({
      place: lock,
      beat: () => beat(lock, holder),
      letGo: () => end(lock, holder.token),
    });
  } catch (error) {
    // It may have become ours before something failed, and nobody could take it while this process lives.
    await letGo(lock, holder.token).catch(() => {});
    throw storeError(error, "lock", folder);
  } finally {
    await remove(aside);
  }
}

/**
 * `_lock` names its holder. The right to follow a dead holder is a file too, the claim named by the dead one's token, made
 * exclusively: so one command alone may replace `_lock`, and if it dies before it has, it is followed in the same way. Dead
 * holders form a chain, whose last link decides.
 *
 * A claim made late, on a chain that another has replaced since, is harmless: whoever claims reads the chain again before
 * touching `_lock`, and while `_lock` still is what it was, nobody but the holder of its claim may change it.
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
  throw new LabelmillError("OUTPUT_LOCKED", `${folder} is wanted by too many commands at once: try again`);
}

/** @returns false if another command got further meanwhile: look again */
async function takeOver(folder: string, aside: string, holder: Holder, chain: Held[]): Promise<boolean> {
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

/** The holder in `_lock` and, one after the other, those who claimed to follow it. */
async function readChain(folder: string): Promise<Held[]> {
  const chain: Held[] = [];
  let held = await readHeld(join(folder, LOCK_FILE));
  while (held && chain.length < MAX_TRIES) {
    chain.push(held);
    held = await readHeld(claimPath(folder, held.token));
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
    // Exclusive too. Who reads it before it is whole takes it for a torn one with a fresh beat, so for held.
    await writeFile(place, encodeHolder(holder), { flag: "wx" });
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function isDead(held: Held, aside: string): Promise<boolean> {
  if (held.holder && (await isOnThisMachine(held.holder))) return isGone(held.holder);
  // Our aside was written a moment ago: both times are of the file system's clock, which need not agree with ours.
  return (await stat(aside)).mtimeMs - held.beatAt > LOCK_TIMES.staleMs;
}

/** Removes `_lock` if it is still this holding's. */
async function letGo(path: string, token: string): Promise<void> {
  if ((await readHeld(path))?.token === token) await rm(path, { force: true });
}

function claimPath(folder: string, token: string): string {
  return join(folder, `.${LOCK_FILE}.${token}.claim`);
}

/** Writes the same bytes again, which sets the file's time by the file system's own clock. */
async function beat(path: string, holder: Holder): Promise<"ours" | "taken" | "gone"> {
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
    if (systemCode(error) === "ENOENT") return "gone";
    throw error;
  }
}

async function end(path: string, token: string): Promise<void> {
  try {
    await letGo(path, token);
  } catch (error) {
    // Something else stands there by now, so the lock is not ours to remove.
    if (error instanceof LabelmillError) return;
    throw storeError(error, "lock", path);
  }
}
