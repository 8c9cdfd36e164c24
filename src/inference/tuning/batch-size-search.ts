/** Batches needed to measure the rate of a size. Their median counts. */
const MIN_SAMPLES = 3;
/** Batches that are kept for each size: the newest ones. */
const MAX_SAMPLES = 5;
/** After this many requests for a size without a batch of it, too few items wait to fill one. */
const STARVED = 3 * MIN_SAMPLES;
/** A smaller size is better if it is slower by less than this: items wait less, and it takes less memory. */
const TOLERANCE = 0.02;
/** A larger size must be faster by this. Greater than TOLERANCE, or the search would oscillate. */
const GAIN = 0.03;
/** After the search, one batch in this many tries a neighbouring size, in case the best size changes. */
const PROBE_EVERY = 32;
/** The first step width of the search if there are many sizes. */
const WIDE_STEP = 2;
const MANY_SIZES = 5;

/** What is known of a size: the rates of its batches, and how often it was requested. */
type Step = { rates: number[]; requested: number };

/**
 * Searches for the best batch size: the smallest one for which larger ones are not faster. It moves to smaller sizes while they are
 * as fast, else to larger ones while they are faster. Then it monitors the neighbours of the best size. Sizes are given by their
 * index, from 0. Rates are work per time, in any unit.
 */
export class BatchSizeSearch {
  readonly #steps: Step[];
  #at: number;
  /** The largest size to try: the next one ran out of memory, or does not exist. */
  #most: number;
  #step: number;
  /** Whether the search has ended and the best size is only monitored. */
  #monitoring: boolean;
  #settled: boolean;
  #sinceProbe = 0;
  #probeUp = true;

  /** @param settled whether the start was found before and is only monitored */
  constructor(sizes: number, start: number, settled = false) {
    this.#steps = Array.from({ length: sizes }, () => ({ rates: [], requested: 0 }));
    this.#at = Math.min(Math.max(0, start), sizes - 1);
    this.#most = sizes - 1;
    this.#step = sizes >= MANY_SIZES ? WIDE_STEP : 1;
    this.#monitoring = settled || sizes === 1;
    this.#settled = this.#monitoring;
  }

  /** The best size so far. */
  get best(): number {
    return this.#at;
  }

  /** Whether a search has ended. Stays true if a later search starts because the best size changed. */
  get settled(): boolean {
    return this.#settled;
  }

  /** The rate of the best size; undefined until it is measured. */
  get rate(): number | undefined {
    const step = this.#steps[this.#at]!;
    return step.rates.length >= MIN_SAMPLES ? median(step.rates) : undefined;
  }

  /** The largest size that `next` can return now. */
  get reach(): number {
    return Math.min(this.#most, this.#at + (this.#monitoring ? 1 : this.#step));
  }

  /** The size of the next batch. */
  next(): number {
    const size = this.#monitoring ? this.#monitor() : this.#explore();
    this.#steps[size]!.requested++;
    return size;
  }

  /** Records a batch with its actual size and its rate. */
  record(size: number, rate: number): void {
    const step = this.#steps[size]!;
    step.rates.push(rate);
    if (step.rates.length > MAX_SAMPLES) step.rates.shift();
    if (this.#monitoring) this.#follow();
  }

  /** Records that a batch of this size ran out of memory: it and larger ones are not tried again. */
  tooLarge(size: number): void {
    this.#most = Math.max(0, Math.min(this.#most, size - 1));
    this.#at = Math.min(this.#at, this.#most);
  }

  #explore(): number {
    for (;;) {
      const down = this.#at - this.#step;
      const up = this.#at + this.#step;
      if (!this.#isKnown(this.#at)) return this.#at;
      if (down >= 0 && !this.#isKnown(down)) return down;
      if (down >= 0 && this.#isAsGood(down)) {
        this.#at = down;
        continue;
      }
      if (up <= this.#most && !this.#isKnown(up)) return up;
      if (up <= this.#most && this.#isBetter(up)) {
        this.#at = up;
        continue;
      }
      if (this.#step === 1) break;
      this.#step = 1;
    }
    this.#monitoring = true;
    this.#settled = true;
    return this.#at;
  }

  #monitor(): number {
    if (++this.#sinceProbe < PROBE_EVERY) return this.#at;
    this.#sinceProbe = 0;
    this.#probeUp = !this.#probeUp;
    const neighbour = this.#at + (this.#probeUp ? 1 : -1);
    return neighbour < 0 || neighbour > this.#most ? this.#at : neighbour;
  }

  /** Moves to a neighbour that is better now, and searches from there. Rates of other sizes are outdated. */
  #follow(): void {
    const [down, up] = [this.#at - 1, this.#at + 1];
    const { length } = this.#steps[this.#at]!.rates;
    if (length < MIN_SAMPLES) return;
    let to: number;
    if (down >= 0 && this.#isMeasured(down) && this.#isAsGood(down, up)) to = down;
    else if (up <= this.#most && this.#isMeasured(up) && this.#isBetter(up)) to = up;
    else return;
    for (const [size, step] of this.#steps.entries()) {
      step.requested = 0;
      if (size !== to && size !== this.#at) step.rates = [];
    }
    this.#at = to;
    this.#step = 1;
    this.#monitoring = false;
  }

  #isMeasured(size: number): boolean {
    return this.#steps[size]!.rates.length >= MIN_SAMPLES;
  }

  #isKnown(size: number): boolean {
    return this.#isMeasured(size) || this.#steps[size]!.requested >= STARVED;
  }

  /** Whether a size is as fast as the best of those compared, within the tolerance. */
  #isAsGood(size: number, upTo = this.#most): boolean {
    const rates = this.#steps.slice(this.#monitoring ? size : 0, upTo + 1).map(rateOf);
    return rateOf(this.#steps[size]!) > 0 && rateOf(this.#steps[size]!) >= (1 - TOLERANCE) * Math.max(...rates);
  }

  #isBetter(size: number): boolean {
    return rateOf(this.#steps[size]!) > (1 + GAIN) * rateOf(this.#steps[this.#at]!);
  }
}

function rateOf({ rates }: Step): number {
  return rates.length >= MIN_SAMPLES ? median(rates) : 0;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
