import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Holder } from "../../src/storage/lease/lock-holder.ts";

/** The lock of a killed command of this machine. Its process id is above all that Linux assigns. */
export function deadHolder(more: Partial<Holder> = {}): Holder {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return {
    host: hostname(),
    pid: 2 ** 30,
    started: "1",
    machine: `${boot} ${readlinkSync("/proc/self/ns/pid")}`,
    since: new Date().toISOString(),
    token: randomBytes(8).toString("hex"),
    ...more,
  };
}

/** Writes a lock, or another file, atomically, as a command does. */
export async function writeHolder(folder: string, content: Holder | string, name = "_lock"): Promise<void> {
  const aside = join(folder, `.test.${randomBytes(8).toString("hex")}.aside`);
  await writeFile(aside, typeof content === "string" ? content : `${JSON.stringify(content)}\n`);
  await rename(aside, join(folder, name));
}
