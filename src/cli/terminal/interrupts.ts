import { Worker } from "node:worker_threads";
import { LabelmillError } from "../../errors.ts";
import { Terminal } from "./terminal.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

const INTERRUPT_TIMES = {
  /** Signals within this time of the first count as the same one: npm passes on a Ctrl-C that its child has already received. */
  oneSignalMs: 1_000,
  /** After the grace time: to give back unfinished slices and close connections. */
  closingMs: 5_000,
  /** For the work of `lastly`, before the signal ends the process. */
  lastMs: 1_000,
  /** From the signal that ends the process to SIGKILL. */
  killMs: 2_000,
};

/** Runs in its own thread, which needs neither the main thread nor libuv's pool: both may be blocked. */
const WATCHDOG = `
const { workerData } = require("node:worker_threads");
setTimeout(() => process.kill(process.pid, "SIGKILL"), workerData);
`;

/** How a command handles an interrupt. */
export type OnInterrupt = {
  /** What happens to the work, printed at the signal. Called at that moment, since it depends on the progress. */
  describe: () => string;
  /** The message of the ABORTED error that ends the command. */
  message?: () => string;
  /** How long running work may take to finish, in ms. If omitted, the command ends soon. */
  graceMs?: number;
};

/**
 * Handles SIGINT and SIGTERM. A command that calls `handle` ends gracefully; any other command ends at once. A second signal, at least one
 * second after the first, ends the process at once. The process always ends: some seconds after the grace time by the signal itself,
 * and then by SIGKILL. Only the signal ends running native code without a crash report.
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

  /** From now on, an interrupt aborts `signal`, and the command ends gracefully. A later call replaces an earlier one. */
  handle(handling: OnInterrupt): void {
    this.#handling = handling;
  }

  /** Registers work that is done even if the command cannot end gracefully, such as releasing a lock. @returns a function that removes it */
  lastly(work: () => Promise<void>): () => void {
    this.#lastly.add(work);
    return () => void this.#lastly.delete(work);
  }

  /**
   * Ends a command that fails because threads are blocked in native code, by SIGKILL some seconds after the grace time. Without it, the
   * process could hang: Node waits for threads of libuv's pool.
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
    // First, since anything after it may block.
    killAfter(endsInMs + lastMs + killMs);
    setTimeout(() => this.#leaveToDefault(), oneSignalMs).unref();
    setTimeout(() => void this.#end(name), endsInMs).unref();
    const again = handling.graceMs === undefined ? "" : " (again to stop at once)";
    const terminal = new Terminal(false);
    terminal.say("");
    terminal.say(`${name}: ${handling.describe()}${again}`);
    const message = handling.message?.() ?? "interrupted: run the same command again to continue";
    this.#abort.abort(new LabelmillError("ABORTED", message));
  };

  /** Ends the process by the signal itself: `process.exit()` would wait for blocked threads. */
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
