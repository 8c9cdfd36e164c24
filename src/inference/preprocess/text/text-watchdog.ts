import type { Worker } from "node:worker_threads";

/**
 * Shared memory to which a thread writes its id and its progress: 0 while it loads the tokenizer, then the number (from 1) of the text
 * that it encodes. A write takes some nanoseconds for each text.
 */
export type Progress = Int32Array<SharedArrayBuffer>;

const [THREAD_ID, TEXT] = [0, 1];

export function newProgress(): Progress {
  return new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
}

export function recordThread(progress: Progress, threadId: number): void {
  Atomics.store(progress, THREAD_ID, threadId);
}

export function recordText(progress: Progress, at: number): void {
  Atomics.store(progress, TEXT, at + 1);
}

export type TimeLimits = { textMs: number; loadMs: number };

/** Checks of the watchdog within the time limit. */
const CHECKS = 4;

/**
 * Limits the time that a thread spends on one text of a message. It measures CPU time, not elapsed time: a thread that gets no CPU,
 * because the machine is busy or was suspended, is not at fault.
 */
export class TextWatchdog implements Disposable {
  readonly #progress: Progress;
  readonly #limits: TimeLimits;
  readonly #threads: () => readonly Worker[];
  readonly #exceeded = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #checking = false;
  #at = -1;
  #sinceMs = 0;

  /** @param progress of an idle thread: it is reset */
  constructor(progress: Progress, limits: TimeLimits, threads: () => readonly Worker[]) {
    this.#progress = progress.fill(0);
    this.#limits = limits;
    this.#threads = threads;
    this.#timer = setInterval(
      () => void this.#check(),
      Math.ceil(Math.min(limits.textMs, limits.loadMs) / CHECKS),
    ).unref();
  }

  /** Aborts when the thread has spent too much time on one text, or on loading. */
  get exceeded(): AbortSignal {
    return this.#exceeded.signal;
  }

  /** Once exceeded: the index of the text that took too long; undefined if the thread was loading the tokenizer. */
  get exceededAt(): number | undefined {
    return this.#at === 0 ? undefined : this.#at - 1;
  }

  async #check(): Promise<void> {
    // A thread answers even in an endless loop. If it does not, no second request is sent. Once exceeded, `exceededAt` must not change:
    // the thread may start the next text before it is terminated.
    if (this.#checking || this.exceeded.aborted) return;
    this.#checking = true;
    const at = Atomics.load(this.#progress, TEXT);
    const usedMs = await this.#usedMs();
    this.#checking = false;
    // The thread may have started another text meanwhile, or may not have started at all.
    if (usedMs === undefined || at !== Atomics.load(this.#progress, TEXT)) return;
    if (at !== this.#at) {
      this.#at = at;
      this.#sinceMs = usedMs;
    } else if (usedMs - this.#sinceMs >= (at === 0 ? this.#limits.loadMs : this.#limits.textMs)) this.#exceeded.abort();
  }

  /** CPU time of the thread in ms; undefined before it starts and after it ends. */
  async #usedMs(): Promise<number | undefined> {
    const id = Atomics.load(this.#progress, THREAD_ID);
    const thread = id === 0 ? undefined : this.#threads().find(({ threadId }) => threadId === id);
    if (!thread) return undefined;
    // Node.js 24.0 to 24.5 does not have it.
    if (!thread.cpuUsage) return performance.now();
    const used = await thread.cpuUsage().catch(() => undefined);
    return used && (used.user + used.system) / 1000;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
