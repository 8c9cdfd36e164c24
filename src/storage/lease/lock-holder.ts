import { randomBytes } from "node:crypto";
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";
import { LabelmillError, systemCode } from "../../errors.ts";
import { IrregularFile, openReal } from "../../regular-file.ts";
import { LOCK_FILE } from "../../schemas/names.ts";

/** Far above what a holder comes to: anything longer is somebody else's file. */
export const MAX_HOLDER_BYTES = 4096;

/** Who holds a lock: the content of its file. Printed to people, so without control characters. */
export const HolderSchema = z.strictObject({
  host: z.string().regex(/^[^\p{Cc}]{1,255}$/u),
  pid: z.int().positive(),
  /** When the process began, in the kernel's ticks, against an id used again; null where the system does not say. */
  started: z.string().max(40).nullable(),
  /** The boot and the process namespace in which `pid` means something: hosts and containers may share their names. */
  machine: z.string().max(200).nullable(),
  since: z.iso.datetime(),
  /** Of this one holding: a process may hold the lock again later. */
  token: z.string().regex(/^[0-9a-f]{16}$/),
  /** How often it was renewed: where no time can be set without writing, each writing must differ from the one before. */
  beat: z.int().nonnegative().optional(),
});
export type Holder = z.infer<typeof HolderSchema>;

/** What stands in a lock's file. */
export type Held = {
  /** Undefined for a torn file. */
  holder: Holder | undefined;
  /** The holder's; for a torn file one that stays the same as long as that file does. */
  token: string;
  /** The last sign of life, in ms, by the clock of the file system. */
  beatAt: number;
};

/** A new holding by this process. */
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
 * @returns what stands at `path`, undefined if nothing does
 * @throws LabelmillError OUTPUT_FOREIGN for a file that is not a lock's
 */
export async function readHeld(path: string): Promise<Held | undefined> {
  try {
    const file = await openReal(path);
    try {
      const found = await file.stat();
      if (found.size > MAX_HOLDER_BYTES) throw foreign(path);
      const text = await file.readFile("utf8");
      const holder = parseHolder(text);
      // A crash of the whole machine may leave nothing, NULs or a beginning of what was written.
      if (!holder && !/^(\0*|\{"host":[^\n]*\n?)$/.test(text)) throw foreign(path);
      const beatAt = found.mtimeMs;
      return { holder, token: holder?.token ?? Math.trunc(beatAt).toString(16).padStart(16, "0"), beatAt };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    if (error instanceof IrregularFile) throw foreign(path);
    throw error;
  }
}

/** Whether this is the machine that the holder's process runs, or ran, on. */
export async function isOnThisMachine(holder: Holder): Promise<boolean> {
  return holder.host === hostname() && holder.machine === (await machine());
}

/** Whether the holder's process is no more, on this machine: ended, ended and not yet buried, or another of the same id. */
export async function isGone(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    // EPERM: it runs, as another user.
    if (systemCode(error) === "ESRCH") return true;
  }
  const status = await statusOf(holder.pid);
  if (!status) return false;
  return "ZX".includes(status.state) || (holder.started !== null && holder.started !== status.started);
}

/** From /proc/PID/stat, proc(5): fields 3 and 22. The name before them, in brackets, may hold anything. */
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

/** @returns undefined for what is no whole holder */
export function parseHolder(text: string): Holder | undefined {
  try {
    return HolderSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** @param place the output, as a path or a URI */
export function lockedBy(place: string, { holder, beatAt }: Pick<Held, "holder" | "beatAt">): LabelmillError {
  const who = holder
    ? `process ${holder.pid} on ${holder.host}, since ${holder.since}`
    : `a command that was writing ${LOCK_FILE} at ${new Date(beatAt).toISOString()}`;
  return new LabelmillError(
    "OUTPUT_LOCKED",
    `${place} is in use by ${who}: wait for it, stop it, or choose another output (if its machine is gone, try again in a minute)`,
  );
}

/** @param path the lock's own, or its URI */
export function foreign(path: string): LabelmillError {
  return new LabelmillError(
    "OUTPUT_FOREIGN",
    `${path} is not a lock that labelmill wrote: move it away, or choose another output`,
  );
}
