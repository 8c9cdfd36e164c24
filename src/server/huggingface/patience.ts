import { LabelmillError } from "../../errors.ts";
import { Problem } from "../problems.ts";

export type PatienceOptions = {
  /** How long the caller waits, in ms. */
  waitMs: number;
  /** What the caller waits for, as an error names it. */
  what: string;
  /** Aborts when the caller has closed the connection. */
  left: AbortSignal;
  /** Aborts when the server stops. The caller then waits for `graceMs` at most. */
  stopping: AbortSignal;
  graceMs: number;
};

/** The time that a caller waits for its labels. Dispose it when they are there. */
export class Patience implements Disposable {
  readonly #options: PatienceOptions;
  readonly #ended = new AbortController();
  readonly #until: number;
  #timer: NodeJS.Timeout;

  constructor(options: PatienceOptions) {
    this.#options = options;
    this.#until = performance.now() + options.waitMs;
    const { left, stopping, waitMs, what } = options;
    this.#timer = setTimeout(() => {
      const seconds = Math.round(waitMs / 100) / 10;
      this.#end(
        new Problem(503, "WAIT_EXCEEDED", `expected ${what} within ${seconds} s: send the request again later`),
      );
    }, waitMs);
    left.addEventListener("abort", this.#leave, { once: true });
    stopping.addEventListener("abort", this.#hurry, { once: true });
    if (left.aborted) this.#leave();
    if (stopping.aborted) this.#hurry();
  }

  /** Aborts with the error of the answer. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#options.left.removeEventListener("abort", this.#leave);
    this.#options.stopping.removeEventListener("abort", this.#hurry);
  }

  readonly #leave = () => this.#end(new LabelmillError("ABORTED", "the caller has closed the connection"));

  readonly #hurry = () => {
    clearTimeout(this.#timer);
    const left = Math.min(this.#options.graceMs, this.#until - performance.now());
    const error = new Problem(503, "STOPPING", "the server stops: send the request again");
    this.#timer = setTimeout(() => this.#end(error), left);
  };

  #end(error: LabelmillError): void {
    clearTimeout(this.#timer);
    this.#ended.abort(error);
  }
}
