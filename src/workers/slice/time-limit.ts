import { LabelmillError } from "../../errors.ts";

/** The longest that a try of a slice may take, the time in which its store was out left out. */
export class TimeLimit implements Disposable {
  readonly #ms: number | undefined;
  readonly #controller = new AbortController();
  readonly #outMs: () => number;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param ms none: as long as it likes
   * @param outMs how long its stores have been out up to now, counted from any moment
   */
  constructor(ms: number | undefined, outMs: () => number = () => 0) {
    this.#ms = ms;
    this.#outMs = outMs;
  }

  /** Aborts with SLICE_TIMEOUT when the time is over. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why the try is over, where it took too long. */
  get exceeded(): LabelmillError | undefined {
    return this.signal.aborted ? this.signal.reason : undefined;
  }

  /** From now on the time counts: what a slice waits to be alone is not its own. */
  begin(): void {
    if (this.#ms === undefined) return;
    this.#wait(this.#ms, this.#outMs());
  }

  #wait(ms: number, outMs: number): void {
    this.#timer = setTimeout(() => {
      const now = this.#outMs();
      if (now > outMs) return this.#wait(now - outMs, now);
      const message = `the slice was not done within its ${this.#ms} ms: make slices smaller, or raise --slice-timeout`;
      this.#controller.abort(new LabelmillError("SLICE_TIMEOUT", message));
    }, ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
