import { LabelmillError } from "../errors.ts";

/** The longest that a try of a slice may take. */
export class TimeLimit implements Disposable {
  readonly #ms: number | undefined;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  /** @param ms none: as long as it likes */
  constructor(ms: number | undefined) {
    this.#ms = ms;
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
    const message = `the slice was not done within its ${this.#ms} ms: make slices smaller, or raise --slice-timeout`;
    this.#timer = setTimeout(() => this.#controller.abort(new LabelmillError("SLICE_TIMEOUT", message)), this.#ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
