import { LabelmillError } from "../../errors.ts";

/** The time limit of one attempt of a slice. The time of an outage of its stores does not count. */
export class TimeLimit implements Disposable {
  readonly #limitMs: number | undefined;
  readonly #controller = new AbortController();
  readonly #outageMs: () => number;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param limitMs undefined: no limit
   * @param outageMs total time for which the slice's stores have been out, up to now
   */
  constructor(limitMs: number | undefined, outageMs: () => number = () => 0) {
    this.#limitMs = limitMs;
    this.#outageMs = outageMs;
  }

  /** Aborts with SLICE_TIMEOUT when the time is over. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The error of an attempt that took too long, otherwise undefined. */
  get exceeded(): LabelmillError | undefined {
    return this.signal.aborted ? this.signal.reason : undefined;
  }

  /** Starts the clock. */
  begin(): void {
    if (this.#limitMs === undefined) return;
    this.#wait(this.#limitMs, this.#outageMs());
  }

  #wait(ms: number, outageMsBefore: number): void {
    this.#timer = setTimeout(() => {
      const outageMs = this.#outageMs();
      if (outageMs > outageMsBefore) return this.#wait(outageMs - outageMsBefore, outageMs);
      const message = `the slice was not done within its ${this.#limitMs} ms: make slices smaller, or raise --slice-timeout`;
      this.#controller.abort(new LabelmillError("SLICE_TIMEOUT", message));
    }, ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
