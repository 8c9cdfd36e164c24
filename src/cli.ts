#!/usr/bin/env node
import "./node-version.ts";
import { runAsChild } from "./cli/init-process.ts";

// The first process of a container loads only what it needs to run its child.
if (process.pid === 1) process.exitCode = await runAsChild();
else await run();

async function run(): Promise<void> {
  const { Interrupts } = await import("./cli/terminal/interrupts.ts");
  const interrupts = new Interrupts();
  interrupts.listen();
  const { redirectConsole } = await import("./cli/terminal/library-console.ts");
  redirectConsole();
  const { prepareProcess, readEnvironment } = await import("./config.ts");
  prepareProcess();
  const { runProgram } = await import("./cli/program.ts");

  // A reader that closes the pipe (`| head`) is not an error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });

  process.exitCode = await runProgram(process.argv.slice(2), readEnvironment(), process.stdin, interrupts);
  // Standard input that is not read to its end would keep the process alive.
  process.stdin.destroy();
}
