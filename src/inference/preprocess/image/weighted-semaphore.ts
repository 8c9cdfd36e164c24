import type { Lane } from "../../../schemas/names.ts";

/** Releases a permit. Further calls have no effect. */
export type Release = () => void;

const OTHER: Record<Lane, Lane> = { interactive: "bulk", bulk: "interactive" };

type Request = { weight: number; admit: () => void; reject: (error: Error) => void };

/**
 * Permits of different weights. Within a lane: first come, first served, so light requests do not overtake a heavy one. The two lanes
 * take turns, so an interactive request waits for one bulk request at most, and bulk requests keep half. A weight over the capacity
 * counts as the whole capacity, so its holder runs alone.
 */
export class WeightedSemaphore {
  readonly #capacity: number;
  #held = 0;
  readonly #waiting: Record<Lane, Request[]> = { interactive: [], bulk: [] };
  #nextLane: Lane = "interactive";
  #closed: Error | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get held(): number {
    return this.#held;
  }

  /** @throws the error passed to `close` */
  async take(requested: number, lane: Lane = "bulk"): Promise<Release> {
    if (this.#closed) throw this.#closed;
    const weight = Math.min(requested, this.#capacity);
    if (!this.#next && this.#held + weight <= this.#capacity) this.#held += weight;
    else await new Promise<void>((admit, reject) => this.#waiting[lane].push({ weight, admit, reject }));
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#held -= weight;
      this.#admit();
    };
  }

  /** Rejects waiting and future requests. */
  close(error: Error): void {
    this.#closed = error;
    for (const waiting of Object.values(this.#waiting)) for (const { reject } of waiting.splice(0)) reject(error);
  }

  #admit(): void {
    for (;;) {
      const lane = this.#next;
      if (lane === undefined || this.#held + this.#waiting[lane][0]!.weight > this.#capacity) return;
      const { weight, admit } = this.#waiting[lane].shift()!;
      this.#nextLane = OTHER[lane];
      this.#held += weight;
      admit();
    }
  }

  /** The lane whose first request is next; undefined if none waits. */
  get #next(): Lane | undefined {
    const lanes = [this.#nextLane, OTHER[this.#nextLane]];
    return lanes.find((lane) => this.#waiting[lane].length > 0);
  }
}
