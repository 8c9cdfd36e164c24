/** The weight of the newest batch in the moving average of the time of a unit of cost. */
const NEWEST_WEIGHT = 0.2;

/** The costs of the batches on one thread. The first one runs, since `startedAt`. */
type Thread = { costs: number[]; startedAt: number };

/** The batches on each thread, and when the running ones will probably end. Costs include padding; times are in ms. */
export class ThreadLoad {
  readonly #threads: Thread[];
  /** Moving average of the time of a unit of cost; undefined before the first batch has ended. */
  #msPerCost: number | undefined;

  constructor(count: number) {
    this.#threads = Array.from({ length: count }, () => ({ costs: [], startedAt: 0 }));
  }

  /** The thread with the fewest batches, and how many. */
  leastBusy(): { thread: number; batches: number } {
    const counts = this.#threads.map(({ costs }) => costs.length);
    const fewest = Math.min(...counts);
    return { thread: counts.indexOf(fewest), batches: fewest };
  }

  begin(thread: number, cost: number, now: number): void {
    const { costs } = this.#threads[thread]!;
    if (costs.length === 0) this.#threads[thread]!.startedAt = now;
    costs.push(cost);
  }

  /** The running batch of the thread has ended. */
  end(thread: number, now: number): void {
    const at = this.#threads[thread]!;
    const took = (now - at.startedAt) / at.costs.shift()!;
    this.#msPerCost = this.#msPerCost === undefined ? took : this.#msPerCost + NEWEST_WEIGHT * (took - this.#msPerCost);
    at.startedAt = now;
  }

  /** The newest batch of the thread was taken back before it began. */
  takeBack(thread: number): void {
    this.#threads[thread]!.costs.pop();
  }

  /** Whether a thread will probably be idle within `ms`. A batch that is later than that is not counted. */
  isIdleWithin(ms: number, now: number): boolean {
    const perCost = this.#msPerCost;
    if (perCost === undefined) return false;
    return this.#threads.some(({ costs, startedAt }) => {
      const left = costs.length === 1 ? startedAt + costs[0]! * perCost - now : Number.NaN;
      return left >= -ms && left <= ms;
    });
  }

  /** The one of these threads, at least one, whose running batch will probably end first. */
  soonest(threads: readonly number[]): number {
    const perCost = this.#msPerCost ?? 1;
    const endOf = (thread: number) => {
      const { costs, startedAt } = this.#threads[thread]!;
      return startedAt + (costs[0] ?? 0) * perCost;
    };
    return threads.reduce((best, each) => (endOf(each) < endOf(best) ? each : best));
  }

  /** The number of batches of each thread. */
  get counts(): number[] {
    return this.#threads.map(({ costs }) => costs.length);
  }
}
