import { execFile } from "node:child_process";
import { promisify } from "node:util";

const execute = promisify(execFile);

/**
 * Runs `command` (program and arguments). @returns its standard output
 * @throws Error with one line, including the last lines of its standard error, if it cannot start, fails, or takes longer
 * than `timeoutMs`
 */
export async function runChild(command: readonly string[], timeoutMs: number): Promise<string> {
  const [program = "", ...args] = command;
  try {
    const { stdout } = await execute(program, args, {
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      maxBuffer: 4 * 1024 * 1024,
    });
    return stdout;
  } catch (error) {
    const { killed, stderr = "", code } = error as { killed?: boolean; stderr?: string; code?: string | number };
    const why = killed ? `did not end within ${timeoutMs / 1000} s` : `failed with ${code ?? "a signal"}`;
    throw new Error(`${program} ${why}${lastLines(stderr)}`, { cause: error });
  }
}

/** The last lines of an output as one line of at most 500 characters, after a colon; empty for an empty output. */
export function lastLines(output: string): string {
  const lines = output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return lines.length === 0 ? "" : `: ${lines.slice(-5).join(" / ").slice(-500)}`;
}
