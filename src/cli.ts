#!/usr/bin/env node
import "./node-version.ts";
import { runAsChild } from "./cli/first-process.ts";

// The first process of a container loads nothing that only its child needs.
if (process.pid === 1) process.exitCode = await runAsChild();
else await run();

async function run(): Promise<void> {
  const { Interrupts } = await import("./cli/terminal/interrupts.ts");
  const interrupts = new Interrupts();
  interrupts.listen();
  const { tameConsole } = await import("./cli/terminal/library-console.ts");
  tameConsole();
  const { runProgram } = await import("./cli/program.ts");
  const { readEnvironment } = await import("./config.ts");

  // A reader that went away (`| head`) is no error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });

  process.exitCode = await runProgram(process.argv.slice(2), readEnvironment(), process.stdin, interrupts);
  // Handlers of signals do not keep the process alive; standard input that is not read to its end would.
  process.stdin.destroy();
}
