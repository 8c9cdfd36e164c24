#!/usr/bin/env node
import { runProgram } from "./cli/program.ts";
import { readEnvironment } from "./config.ts";
import { LabelmillError } from "./errors.ts";

const interrupted = new AbortController();
const SIGNALS = ["SIGINT", "SIGTERM"] as const;

// The first signal stops cleanly. The second finds no handler and ends the process at once: the one way that native code
// under way survives without a crash report.
function interrupt(signal: NodeJS.Signals): void {
  for (const name of SIGNALS) process.off(name, interrupt);
  process.stderr.write(`\n${signal}: finishing what is under way (again to stop at once)\n`);
  interrupted.abort(new LabelmillError("ABORTED", "interrupted: run the same command again to go on"));
}
for (const name of SIGNALS) process.on(name, interrupt);

// A reader that went away (`| head`) is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

process.exitCode = await runProgram(process.argv.slice(2), readEnvironment(), process.stdin, interrupted.signal);
// Handlers of signals do not keep the process alive; standard input that nobody reads to its end would.
process.stdin.destroy();
