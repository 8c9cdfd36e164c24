import { format } from "node:util";
import { printableLines } from "../../printable.ts";

/**
 * Libraries print warnings on the console, with words of the server in them (ioredis: "Skipping the ready check because …"). They go to
 * standard error, cleaned: standard output belongs to the result.
 */
export function tameConsole(): void {
  const write = (...words: unknown[]) => void process.stderr.write(`${printableLines(format(...words))}\n`);
  for (const method of ["debug", "log", "info", "warn", "error"] as const) console[method] = write;
}
