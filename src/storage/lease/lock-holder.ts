import { randomBytes } from "node:crypto";
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";
import { LabelmillError, systemCode } from "../../errors.ts";
import { IrregularFile, openReal } from "../../regular-file.ts";
import { LOCK_FILE } from "../../schemas/names.ts";

/** Far above the size of a holder's record: a longer file belongs to another program. */
export const MAX_HOLDER_BYTES = 4096;

/** The holder of a lock: the content of its file. It is printed, so it contains no control characters. */
const HolderSchema = z.strictObject({
  host: z.string().regex(/^[^\p{Cc}]{1,255}$/u),
  pid: z.int().positive(),
  /** The start of the process in kernel ticks, which detects a reused process id; null if the system does not report it. */
  started: z.string().max(40).nullable(),
  /** The boot and the process namespace of `pid`: hosts and containers may have the same name. */
  machine: z.string().max(200).nullable(),
  since: z.iso.datetime(),
  /** Identifies this acquisition: a process may take the lock again later. */
  token: z.string().regex(/^[0-9a-f]{16}$/),
  /** The number of renewals. On S3 only a write sets the time, and each write must differ from the last. */
  beat: z.int().nonnegative().optional(),
});
export type Holder = z.infer<typeof HolderSchema>;

/** A lock as it was read. */
export type LockRecord = {
  /** Undefined for a torn file. */
  holder: Holder | undefined;
  /** The holder's token. For a torn file, a token that is constant until the file changes. */
  token: string;
  /** The last renewal, in ms, by the clock of the file system. */
  renewedAt: number;
};

/** The record of a new acquisition by this process. */
export async function newHolder(): Promise<Holder> {
  const status = await statusOf(process.pid);
  return {
    host: hostname(),
    pid: process.pid,
    started: status?.started ?? null,
    machine: await machine(),
    since: new Date().toISOString(),
    token: randomBytes(8).toString("hex"),
  };
}

export function encodeHolder(holder: Holder): Uint8Array {
  return Buffer.from(`${JSON.stringify(holder)}\n`);
}

/**
 * @returns the lock at `path`; undefined if the file does not exist
 * @throws LabelmillError OUTPUT_FOREIGN for a file that is not a lock
 */
export async function readLock(path: string): Promise<LockRecord | undefined> {
  try {
    const file = await openReal(path);
    try {
      const found = await file.stat();
      if (found.size > MAX_HOLDER_BYTES) throw foreign(path);
      const text = await file.readFile("utf8");
      const holder = parseHolder(text);
      // A crash of the machine may leave an empty file, NULs or the beginning of the text.
      if (!holder && !/^(\0*|\{"host":[^\n]*\n?)$/.test(text)) throw foreign(path);
      const renewedAt = found.mtimeMs;
      return { holder, token: holder?.token ?? Math.trunc(renewedAt).toString(16).padStart(16, "0"), renewedAt };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    if (error instanceof IrregularFile) throw foreign(path);
    throw error;
  }
}

/** Whether the holder's process runs, or ran, on this machine. */
export async function isOnThisMachine(holder: Holder): Promise<boolean> {
  return holder.host === hostname() && holder.machine === (await machine());
}

/** Whether the holder's process on this machine has ended: no such process, a zombie, or another process with the same id. */
export async function hasEnded(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    // EPERM: it runs as another user.
    if (systemCode(error) === "ESRCH") return true;
  }
  const status = await statusOf(holder.pid);
  if (!status) return false;
  return "ZX".includes(status.state) || (holder.started !== null && holder.started !== status.started);
}

/** From /proc/PID/stat, proc(5): fields 3 and 22. The name in brackets before them may contain any character. */
async function statusOf(pid: number): Promise<{ state: string; started: string } | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0]!, started: fields[19]! };
  } catch {
    return undefined;
  }
}

async function machine(): Promise<string | null> {
  try {
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "latin1");
    return `${boot.trim()} ${await readlink("/proc/self/ns/pid")}`;
  } catch {
    return null;
  }
}

/** @returns undefined for an invalid or incomplete record */
export function parseHolder(text: string): Holder | undefined {
  try {
    return HolderSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** @param place the output, as a path or a URI */
export function lockedBy(
  place: string,
  { holder, renewedAt }: Pick<LockRecord, "holder" | "renewedAt">,
): LabelmillError {
  const who = holder
    ? `process ${holder.pid} on ${holder.host}, since ${holder.since}`
    : `a command that was writing ${LOCK_FILE} at ${new Date(renewedAt).toISOString()}`;
  return new LabelmillError(
    "OUTPUT_LOCKED",
    `${place} is in use by ${who}: wait for it, stop it, or choose another output (if its machine no longer runs, try again in a minute)`,
  );
}

/** @param path the lock's own, or its URI */
export function foreign(path: string): LabelmillError {
  return new LabelmillError(
    "OUTPUT_FOREIGN",
    `${path} is not a lock that labelmill wrote: move it away, or choose another output`,
  );
}
