/** Batches that tell how fast a size is: their median counts. */
const ENOUGH = 3;
/** The newest of them that are kept. */
const KEPT = 5;
/** A size that was asked for so often without a batch of it: not enough waits to fill one. */
const STARVED = 3 * ENOUGH;
/** A smaller size that is slower by less than this is better: it keeps items waiting for less time and takes less memory. */
const TOLERANCE = 0.02;
/** A larger size must be faster by this. More than TOLERANCE, or the two would take turns. */
const GAIN = 0.03;
/** Once settled, one batch in so many tries a neighbour, so that a knee that moves is followed. */
const PROBE_EVERY = 32;
/** Strides over long ladders, before single steps. */
const STRIDE = 2;
const LONG_LADDER = 5;

type Step = { rates: number[]; asked: number };

/**
 * Looks for the knee of a ladder of batch sizes: the smallest beyond which larger ones gain nothing. It goes down while smaller
 * ones are as fast, else up while larger ones are faster, then watches the neighbours of the one that it chose. Sizes are known
 * by their number, from 0; rates are work per time in any unit.
 */
export class BatchSizeSearch {
  readonly #steps: Step[];
  #at: number;
  /** No larger one is tried: the next one raised a memory error. */
  #most: number;
  #stride: number;
  /** Whether the best is only watched. */
  #watching: boolean;
  #settled: boolean;
  #sinceProbe = 0;
  #probeUp = true;

  /** @param settled the start was found before, and is watched only */
  constructor(sizes: number, start: number, settled = false) {
    this.#steps = Array.from({ length: sizes }, () => ({ rates: [], asked: 0 }));
    this.#at = Math.min(Math.max(0, start), sizes - 1);
    this.#most = sizes - 1;
    this.#stride = sizes >= LONG_LADDER ? STRIDE : 1;
    this.#watching = settled || sizes === 1;
    this.#settled = this.#watching;
  }

  /** The size that is the best so far. */
  get best(): number {
    return this.#at;
  }

  /** Whether a search has ended. It stays true: a knee that moves is followed from where it was. */
  get settled(): boolean {
    return this.#settled;
  }

  /** The rate of the best size; undefined before it was measured. */
  get rate(): number | undefined {
    const step = this.#steps[this.#at]!;
    return step.rates.length >= ENOUGH ? median(step.rates) : undefined;
  }

  /** The largest size that may be asked for next. */
  get reach(): number {
    return Math.min(this.#most, this.#at + (this.#watching ? 1 : this.#stride));
  }

  /** The size of the next batch. */
  next(): number {
    const size = this.#watching ? this.#watch() : this.#explore();
    this.#steps[size]!.asked++;
    return size;
  }

  /** Told of each batch: which size it was in truth, and its rate. */
  record(size: number, rate: number): void {
    const step = this.#steps[size]!;
    step.rates.push(rate);
    if (step.rates.length > KEPT) step.rates.shift();
    if (this.#watching) this.#follow();
  }

  /** A batch of this size found no memory: it and larger ones are not tried again. */
  tooLarge(size: number): void {
    this.#most = Math.max(0, Math.min(this.#most, size - 1));
    this.#at = Math.min(this.#at, this.#most);
  }

  #explore(): number {
    for (;;) {
      const down = this.#at - this.#stride;
      const up = this.#at + this.#stride;
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
      if (this.#stride === 1) break;
      this.#stride = 1;
    }
    this.#watching = true;
    this.#settled = true;
    return this.#at;
  }

  #watch(): number {
    if (++this.#sinceProbe < PROBE_EVERY) return this.#at;
    this.#sinceProbe = 0;
    this.#probeUp = !this.#probeUp;
    const neighbour = this.#at + (this.#probeUp ? 1 : -1);
    return neighbour < 0 || neighbour > this.#most ? this.#at : neighbour;
  }

  /** Moves to a neighbour that has become the better one, and explores from there: what was known of others is out of date. */
  #follow(): void {
    const [down, up] = [this.#at - 1, this.#at + 1];
    const { length } = this.#steps[this.#at]!.rates;
    if (length < ENOUGH) return;
    let to: number;
    if (down >= 0 && this.#isMeasured(down) && this.#isAsGood(down, up)) to = down;
    else if (up <= this.#most && this.#isMeasured(up) && this.#isBetter(up)) to = up;
    else return;
    for (const [size, step] of this.#steps.entries()) {
      step.asked = 0;
      if (size !== to && size !== this.#at) step.rates = [];
    }
    this.#at = to;
    this.#stride = 1;
    this.#watching = false;
  }

  #isMeasured(size: number): boolean {
    return this.#steps[size]!.rates.length >= ENOUGH;
  }

  #isKnown(size: number): boolean {
    return this.#isMeasured(size) || this.#steps[size]!.asked >= STARVED;
  }

  /** As fast as the best of those that are compared, within the tolerance. */
  #isAsGood(size: number, upTo = this.#most): boolean {
    const rates = this.#steps.slice(this.#watching ? size : 0, upTo + 1).map(rateOf);
    return rateOf(this.#steps[size]!) > 0 && rateOf(this.#steps[size]!) >= (1 - TOLERANCE) * Math.max(...rates);
  }

  #isBetter(size: number): boolean {
    return rateOf(this.#steps[size]!) > (1 + GAIN) * rateOf(this.#steps[this.#at]!);
  }
}

function rateOf({ rates }: Step): number {
  return rates.length >= ENOUGH ? median(rates) : 0;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
