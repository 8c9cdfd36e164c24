// A command to interrupt, in its own process. The first argument says what the command does, the second has the times as JSON.
import { open } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Interrupts } from "../../../src/cli/terminal/interrupts.ts";

const [behaviour, times, fifo] = process.argv.slice(2) as [string, string, string | undefined];
const interrupts = new Interrupts(JSON.parse(times));
interrupts.listen();
const handled = { describe: () => "stopping in good order", graceMs: 300 };

const BEHAVIOURS: Record<string, () => void> = {
  // It handles nothing: the signal ends it.
  nothing: () => {},
  // The main thread never returns to its event loop.
  blocks: () => {
    interrupts.handle(handled);
    interrupts.signal.addEventListener("abort", () => {
      for (;;);
    });
  },
  // Every thread of libuv's pool waits for a writer of the FIFO.
  fifo: () => {
    interrupts.handle(handled);
    for (let i = 0; i < 64; i++) open(fifo!, "r", () => {});
  },
  // It fails by itself, and its pool threads stay blocked.
  fails: () => {
    for (let i = 0; i < 64; i++) open(fifo!, "r", () => {});
    interrupts.endStuck(100);
    process.exitCode = 1;
    clearInterval(alive);
  },
  // It fails in the same way, but no thread is blocked.
  recovers: () => {
    interrupts.endStuck(100);
    process.exitCode = 1;
    clearInterval(alive);
  },
  // It ends within its grace time.
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
  process.stdout.write("released\n");
});
const alive = setInterval(() => {}, 1_000);
BEHAVIOURS[behaviour]!();
process.stdout.write("ready\n");
