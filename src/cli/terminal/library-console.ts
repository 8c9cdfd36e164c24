import { format } from "node:util";
import { printableLines } from "../../printable.ts";

/**
 * Sends the console output of libraries to standard error, with control characters replaced. Libraries print warnings that contain text of
 * the server (ioredis: "Skipping the ready check because …"), and standard output is only for the result.
 */
export function redirectConsole(): void {
  const write = (...words: unknown[]) => void process.stderr.write(`${printableLines(format(...words))}\n`);
  for (const method of ["debug", "log", "info", "warn", "error"] as const) console[method] = write;
}
