import { Worker } from "node:worker_threads";
import { LabelmillError } from "../../errors.ts";
import { Terminal } from "./terminal.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

export const INTERRUPT_TIMES = {
  /** npm passes on a Ctrl-C that its child has from the terminal already: signals so close to the first are the same one. */
  oneSignalMs: 1_000,
  /** After the grace time: to give back what is not done, and to close what is open. */
  closingMs: 5_000,
  /** For what has to be done before the signal ends the process. */
  lastMs: 1_000,
  /** From the signal that ends the process to SIGKILL. */
  killMs: 2_000,
};

/** A thread of its own, which needs neither the main thread nor a thread of libuv's pool: both may be stuck. */
const WATCHDOG = `
const { workerData } = require("node:worker_threads");
setTimeout(() => process.kill(process.pid, "SIGKILL"), workerData);
`;

/** What an interrupted command does. */
export type OnInterrupt = {
  /** What becomes of the work, told at the signal; asked then, since it depends on how far the command is. */
  tell: () => string;
  /** The message of the ABORTED with which the command ends. */
  message?: () => string;
  /** How long work that is under way may take to its end, in ms; none: the command ends soon. */
  graceMs?: number;
};

/**
 * SIGINT and SIGTERM. A command that has something to end in an orderly way says so by `handle`; every other ends at once. The next
 * signal, from a second later on, ends either at once. The process ends in any case: some seconds after the grace time by the
 * signal itself, which is the one way that native code under way survives without a crash report, and then by SIGKILL.
 */
export class Interrupts {
  readonly #times: typeof INTERRUPT_TIMES;
  readonly #abort = new AbortController();
  readonly #lastly = new Set<() => Promise<void>>();
  #handling: OnInterrupt | undefined;

  constructor(times: Partial<typeof INTERRUPT_TIMES> = {}) {
    this.#times = { ...INTERRUPT_TIMES, ...times };
  }

  /** Aborts at the first signal. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  listen(): void {
    for (const name of SIGNALS) process.on(name, this.#first);
  }

  /** From now on the command ends in an orderly way, by `signal`. A later call takes the place of an earlier one. */
  handle(handling: OnInterrupt): void {
    this.#handling = handling;
  }

  /** What has to be done even if the command does not get to its end: a lock that is given back. @returns what takes it out again */
  lastly(work: () => Promise<void>): () => void {
    this.#lastly.add(work);
    return () => void this.#lastly.delete(work);
  }

  /**
   * A command that fails because threads are stuck in native code ends by itself, if they come back, or by SIGKILL some seconds after
   * the grace time: Node waits for threads of libuv's pool.
   */
  endStuck(graceMs: number): void {
    const { closingMs, lastMs, killMs } = this.#times;
    killAfter(graceMs + closingMs + lastMs + killMs);
  }

  readonly #first = (name: NodeJS.Signals): void => {
    if (this.signal.aborted) return;
    const handling = this.#handling;
    if (!handling) return void this.#end(name);
    const { oneSignalMs, closingMs, lastMs, killMs } = this.#times;
    const endsInMs = (handling.graceMs ?? 0) + closingMs;
    // First of all: whatever is done next may get stuck.
    killAfter(endsInMs + lastMs + killMs);
    setTimeout(() => this.#leaveToDefault(), oneSignalMs).unref();
    setTimeout(() => void this.#end(name), endsInMs).unref();
    const again = handling.graceMs === undefined ? "" : " (again to stop at once)";
    const terminal = new Terminal(false);
    terminal.say("");
    terminal.say(`${name}: ${handling.tell()}${again}`);
    const message = handling.message?.() ?? "interrupted: run the same command again to go on";
    this.#abort.abort(new LabelmillError("ABORTED", message));
  };

  /** By the signal itself: `process.exit()` would wait for threads that are stuck. */
  async #end(name: NodeJS.Signals): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, this.#times.lastMs);
    const last = [...this.#lastly].map((work) => work());
    if (last.length > 0) await Promise.race([late, Promise.allSettled(last)]);
    this.#leaveToDefault();
    process.kill(process.pid, name);
  }

  #leaveToDefault(): void {
    for (const name of SIGNALS) process.off(name, this.#first);
  }
}

function killAfter(ms: number): void {
  new Worker(WATCHDOG, { eval: true, workerData: ms }).unref();
}
