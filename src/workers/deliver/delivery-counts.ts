import type { DeliveryCounts } from "../../schemas/worker.ts";

/** What became of the result of an object. */
export type Outcome = "written" | "superseded" | "full" | "refused";

/** Counts what became of sidecars and tags since the start of the worker. */
export class Counts {
  readonly #sidecars = { written: 0, superseded: 0, refused: 0 };
  readonly #tags = { written: 0, superseded: 0, refused: 0, full: 0 };
  #lastRefused: DeliveryCounts["lastRefused"];

  add(to: "sidecar" | "tags", outcome: Outcome): void {
    if (to === "tags") this.#tags[outcome] += 1;
    else this.#sidecars[outcome === "full" ? "written" : outcome] += 1;
  }

  refuse(to: "sidecar" | "tags", refusal: { uri: string; code: string; message: string }): void {
    this.add(to, "refused");
    this.#lastRefused = { ...refusal, to, at: new Date().toISOString() };
  }

  /** Undefined before the first one. */
  get current(): DeliveryCounts | undefined {
    const all = [...Object.values(this.#sidecars), ...Object.values(this.#tags)];
    if (all.every((count) => count === 0)) return undefined;
    const lastRefused = this.#lastRefused ? { lastRefused: this.#lastRefused } : {};
    return { sidecars: { ...this.#sidecars }, tags: { ...this.#tags }, ...lastRefused };
  }
}
