import { hash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError } from "../../errors.ts";
import { asidePath, remove } from "../fs/atomic-write.ts";
import { type LockFile, removeOurs, takeLock } from "./lock-file.ts";
import { encodeHolder, newHolder, readLock } from "./lock-holder.ts";

/** Longer than the time after which the lock of a dead process on another machine may be taken. */
const LONGEST_WAIT_FOR_LOCK_MS = 90_000;
/** The wait between two looks at a held lock is a random share of this. */
const LOOK_MS = 20;

/** The last call of each path in this process. Calls of one process do not compete for the lock file. */
const LAST = new Map<string, Promise<unknown>>();

/**
 * Runs `work` while no other process works on the same path. The lock is a hidden file beside it. The lock of a process that
 * was killed on this machine is taken at once; that of a process elsewhere, after 60 s.
 * @param work receives a function that rejects if the lock was lost: call it before each change
 * @throws LabelmillError STORE_FAILED, retryable, if another process keeps the lock; and what `work` throws
 */
export async function withKeyLock<T>(path: string, work: (stillOurs: () => Promise<void>) => Promise<T>): Promise<T> {
  const before = LAST.get(path);
  const result = (async () => {
    await before?.catch(() => {});
    return lockAndWork(path, work);
  })();
  LAST.set(path, result);
  try {
    return await result;
  } finally {
    if (LAST.get(path) === result) LAST.delete(path);
  }
}

async function lockAndWork<T>(path: string, work: (stillOurs: () => Promise<void>) => Promise<T>): Promise<T> {
  const folder = dirname(path);
  const lock = keyLockFile(folder, basename(path));
  const holder = await newHolder();
  const aside = asidePath(folder, "lock");
  const stillOurs = async () => {
    if ((await readLock(lock.path))?.token !== holder.token) throw busy(path, "the lock was lost");
  };
  const giveUpAt = performance.now() + LONGEST_WAIT_FOR_LOCK_MS;
  try {
    for (;;) {
      // Written again for each try: its time is compared with that of the lock.
      await writeFile(aside, encodeHolder(holder));
      const other = await takeLock(lock, aside, holder);
      if (!other) break;
      if (performance.now() > giveUpAt) {
        const { pid, host } = other.holder ?? { pid: "unknown", host: "an unknown host" };
        throw busy(path, `process ${pid} on ${host} keeps its lock`);
      }
      await delay(Math.random() * LOOK_MS);
    }
    // A process that is killed from here on leaves the lock alone.
    await remove(aside);
    return await work(stillOurs);
  } finally {
    await removeOurs(lock.path, holder.token).catch(() => {});
    await remove(aside);
  }
}

/** A name that no key can have, and no other key's lock has. */
function keyLockFile(folder: string, name: string): LockFile {
  const digest = hash("sha256", name).slice(0, 16);
  return {
    path: join(folder, `.lock.${digest}.claim`),
    claim: (token) => join(folder, `.lock-${digest}.${token}.claim`),
  };
}

function busy(path: string, why: string): LabelmillError {
  return new LabelmillError("STORE_FAILED", `could not write ${path}: ${why}: try again`, { retryable: true });
}
