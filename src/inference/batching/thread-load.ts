/** How much the newest batch counts in what a unit of cost is believed to take. */
const NEWEST = 0.2;
/** Batches that are out on one thread: the first runs, since `startedAt`. */
type Thread = { costs: number[]; startedAt: number };

/** The batches that are out, thread by thread, and when those that run may be expected to end. Costs are padded ones, times in ms. */
export class ThreadLoad {
  readonly #threads: Thread[];
  /** What a unit of cost has taken lately; undefined before the first batch has ended. */
  #msPerCost: number | undefined;

  constructor(count: number) {
    this.#threads = Array.from({ length: count }, () => ({ costs: [], startedAt: 0 }));
  }

  /** The thread with the fewest batches out, and how many. */
  leastBusy(): { thread: number; out: number } {
    const out = this.#threads.map(({ costs }) => costs.length);
    const fewest = Math.min(...out);
    return { thread: out.indexOf(fewest), out: fewest };
  }

  begin(thread: number, cost: number, now: number): void {
    const { costs } = this.#threads[thread]!;
    if (costs.length === 0) this.#threads[thread]!.startedAt = now;
    costs.push(cost);
  }

  /** The batch that runs on the thread has ended. */
  end(thread: number, now: number): void {
    const at = this.#threads[thread]!;
    const took = (now - at.startedAt) / at.costs.shift()!;
    this.#msPerCost = this.#msPerCost === undefined ? took : this.#msPerCost + NEWEST * (took - this.#msPerCost);
    at.startedAt = now;
  }

  /** Whether a batch that runs should end within so many ms. One that is late is not believed any more. */
  endsWithin(ms: number, now: number): boolean {
    const perCost = this.#msPerCost;
    if (perCost === undefined) return false;
    return this.#threads.some(({ costs, startedAt }) => {
      const left = costs.length === 0 ? Number.NaN : startedAt + costs[0]! * perCost - now;
      return left >= -ms && left <= ms;
    });
  }
}
