import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";

/** Signals that reach the first process of a container: those that people and supervisors send. */
const PASSED_ON = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Runs this program as a child, passes signals on to it, and ends as it does. For the first process of a container (PID 1): the kernel
 * drops a signal that PID 1 does not handle, and every signal that it sends to itself, even SIGKILL. It could not end itself while
 * native code is stuck.
 * @returns the child's exit code; 128 + n if signal n ended it
 */
export async function runAsChild(): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], { stdio: "inherit" });
  for (const name of PASSED_ON) process.on(name, () => child.kill(name));
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal!];
}
