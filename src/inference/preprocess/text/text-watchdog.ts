import type { Worker } from "node:worker_threads";

/**
 * Where a thread notes, in shared memory, what it is doing: its id, then 0 while it loads the tokenizer, else the place of the text that
 * it encodes, from 1. Noting costs some nanoseconds a text.
 */
export type Progress = Int32Array<SharedArrayBuffer>;

const [THREAD_ID, TEXT] = [0, 1];

export function newProgress(): Progress {
  return new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
}

export function noteThread(progress: Progress, threadId: number): void {
  Atomics.store(progress, THREAD_ID, threadId);
}

export function noteText(progress: Progress, at: number): void {
  Atomics.store(progress, TEXT, at + 1);
}

export type TimeLimits = { textMs: number; loadMs: number };

/** Times that the watchdog looks within the limit. */
const LOOKS = 4;

/**
 * Watches one message's thread: how long it is on one text. Processor time counts, not time: a thread that gets no processor, on a machine
 * that is busy or was suspended, is not at fault.
 */
export class TextWatchdog implements Disposable {
  readonly #progress: Progress;
  readonly #limits: TimeLimits;
  readonly #threads: () => readonly Worker[];
  readonly #exceeded = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #looking = false;
  #at = -1;
  #sinceMs = 0;

  /** @param progress that of a thread that has nothing to do: it is reset */
  constructor(progress: Progress, limits: TimeLimits, threads: () => readonly Worker[]) {
    this.#progress = progress.fill(0);
    this.#limits = limits;
    this.#threads = threads;
    this.#timer = setInterval(
      () => void this.#look(),
      Math.ceil(Math.min(limits.textMs, limits.loadMs) / LOOKS),
    ).unref();
  }

  /** Aborts when the thread was on one text, or on loading, for too long. */
  get exceeded(): AbortSignal {
    return this.#exceeded.signal;
  }

  /** Once exceeded: the place of the text on which the thread was too long, undefined if it was loading the tokenizer. */
  get exceededAt(): number | undefined {
    return this.#at === 0 ? undefined : this.#at - 1;
  }

  async #look(): Promise<void> {
    // The thread answers even while it spins; one that does not is asked no second time. Once exceeded, the culprit stays as found:
    // the thread may go on to the next text before it is ended.
    if (this.#looking || this.exceeded.aborted) return;
    this.#looking = true;
    const at = Atomics.load(this.#progress, TEXT);
    const usedMs = await this.#usedMs();
    this.#looking = false;
    // It may have gone on meanwhile, or not have begun.
    if (usedMs === undefined || at !== Atomics.load(this.#progress, TEXT)) return;
    if (at !== this.#at) {
      this.#at = at;
      this.#sinceMs = usedMs;
    } else if (usedMs - this.#sinceMs >= (at === 0 ? this.#limits.loadMs : this.#limits.textMs)) this.#exceeded.abort();
  }

  /** Processor time of the thread in ms; undefined where there is none yet, or none any more. */
  async #usedMs(): Promise<number | undefined> {
    const id = Atomics.load(this.#progress, THREAD_ID);
    const thread = id === 0 ? undefined : this.#threads().find(({ threadId }) => threadId === id);
    if (!thread) return undefined;
    // Node 24.0 to 24.5 cannot tell.
    if (!thread.cpuUsage) return performance.now();
    const used = await thread.cpuUsage().catch(() => undefined);
    return used && (used.user + used.system) / 1000;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
