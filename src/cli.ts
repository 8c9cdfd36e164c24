#!/usr/bin/env node
import "./node-version.ts";
import { Interrupts } from "./cli/interrupts.ts";
import { runProgram } from "./cli/program.ts";
import { readEnvironment } from "./config.ts";

const interrupts = new Interrupts();
interrupts.listen();

// A reader that went away (`| head`) is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

process.exitCode = await runProgram(process.argv.slice(2), readEnvironment(), process.stdin, interrupts);
// Handlers of signals do not keep the process alive; standard input that nobody reads to its end would.
process.stdin.destroy();
