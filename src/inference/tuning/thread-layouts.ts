/** How the CPU's cores are used: inference threads (each has a session, so a copy of the model) and threads within each session. */
export type Layout = { threads: number; intraOpThreads: number };

/** Cost per ms of one thread, by bucket of lengths. */
export type Rates = ReadonlyMap<number, number>;

/** More copies of a model would take too much memory. */
const MAX_THREADS = 16;
/** Where the search begins: on few cores, sessions of one thread each are the fastest. */
const USUAL_THREADS = 4;
/** Another layout must be faster than the best one by this. */
const GAIN = 0.03;

/** The layouts of a machine, in rising order of threads: those with threads × intra-op threads = cores, and the usual one. */
export function layoutsOf(cores: number): Layout[] {
  const usual = usualLayout(cores).threads;
  const counts = Array.from({ length: Math.min(cores, MAX_THREADS) }, (_, at) => at + 1);
  return counts
    .filter((threads) => cores % threads === 0 || threads === usual)
    .map((threads) => layout(threads, cores));
}

/** The layout at the start of the search. */
export function usualLayout(cores: number): Layout {
  return layout(Math.min(cores, USUAL_THREADS), cores);
}

function layout(threads: number, cores: number): Layout {
  return { threads, intraOpThreads: Math.max(1, Math.floor(cores / threads)) };
}

/** Tries the neighbours of the best layout, until none of them is faster. */
export class LayoutSearch {
  readonly #layouts: readonly Layout[];
  readonly #measured = new Map<number, Rates>();
  #at: number;
  #best: number;
  #done: boolean;

  /** @param layouts in rising order of threads. A single one needs no search */
  constructor(layouts: readonly Layout[], start: Layout) {
    this.#layouts = layouts;
    this.#at = Math.max(
      0,
      layouts.findIndex(({ threads }) => threads === start.threads),
    );
    this.#best = this.#at;
    this.#done = layouts.length === 1;
  }

  get current(): Layout {
    return this.#layouts[this.#at]!;
  }

  get done(): boolean {
    return this.#done;
  }

  /** Records the rates of the current layout. @returns the layout to switch to; undefined to stay */
  record(rates: Rates): Layout | undefined {
    if (this.#done) return undefined;
    this.#measured.set(this.#at, rates);
    if (this.#at !== this.#best && this.#isFaster(this.#at, this.#best)) this.#best = this.#at;
    const untried = [this.#best - 1, this.#best + 1].find((at) => this.#layouts[at] && !this.#measured.has(at));
    this.#done = untried === undefined;
    const next = untried ?? this.#best;
    if (next === this.#at) return undefined;
    this.#at = next;
    return this.current;
  }

  /** Ends the search if a layout cannot be started. @returns the best layout so far */
  failed(): Layout {
    this.#done = true;
    this.#at = this.#best;
    return this.current;
  }

  /** Compares the geometric mean of the rates that both have measured. */
  #isFaster(one: number, other: number): boolean {
    const [a, b] = [this.#measured.get(one)!, this.#measured.get(other)!];
    const ratios = [...a].flatMap(([bucket, rate]) => (b.has(bucket) ? [Math.log(rate / b.get(bucket)!)] : []));
    if (ratios.length === 0) return false;
    const threads = Math.log(this.#layouts[one]!.threads / this.#layouts[other]!.threads);
    const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
    return threads + mean > Math.log(1 + GAIN);
  }
}
