import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";

/** Signals that people and supervisors send to the first process of a container. */
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Runs this program as a child process, passes signals on to it, and ends with its exit code. For the first process of a container (PID 1):
 * the kernel drops signals that PID 1 does not handle, and all signals that it sends to itself, even SIGKILL. So PID 1 could not end
 * itself while native code is blocked.
 * @returns the exit code of the child; 128 + n if signal n ended it
 */
export async function runAsChild(): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], { stdio: "inherit" });
  for (const name of FORWARDED) process.on(name, () => child.kill(name));
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal!];
}
