// A command that is interrupted, in a process of its own. What it does is the first argument; the times are JSON in the second.
import { open } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Interrupts } from "../../../src/cli/terminal/interrupts.ts";

const [what, times, fifo] = process.argv.slice(2) as [string, string, string | undefined];
const interrupts = new Interrupts(JSON.parse(times));
interrupts.listen();
const handled = { tell: () => "stopping in good order", graceMs: 300 };

const DO: Record<string, () => void> = {
  // Nothing is handled: the signal ends it.
  nothing: () => {},
  // The main thread never comes back.
  blocks: () => {
    interrupts.handle(handled);
    interrupts.signal.addEventListener("abort", () => {
      for (;;);
    });
  },
  // Every thread of libuv's pool waits for somebody who writes.
  fifo: () => {
    interrupts.handle(handled);
    for (let i = 0; i < 64; i++) open(fifo!, "r", () => {});
  },
  // It fails by itself, with threads that do not come back.
  fails: () => {
    for (let i = 0; i < 64; i++) open(fifo!, "r", () => {});
    interrupts.endStuck(100);
    process.exitCode = 1;
    clearInterval(alive);
  },
  // It fails in the same way, and its threads come back.
  recovers: () => {
    interrupts.endStuck(100);
    process.exitCode = 1;
    clearInterval(alive);
  },
  // It ends after the grace time has begun, and before it is over.
  slow: () => {
    interrupts.handle(handled);
    interrupts.signal.addEventListener("abort", async () => {
      await delay(200);
      process.exitCode = 7;
      clearInterval(alive);
    });
  },
};

interrupts.lastly(async () => {
  process.stdout.write("let go\n");
});
const alive = setInterval(() => {}, 1_000);
DO[what]!();
process.stdout.write("ready\n");
