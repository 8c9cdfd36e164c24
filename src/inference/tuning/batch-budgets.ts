import { BatchSizeSearch } from "./batch-size-search.ts";

/** A batch that the model has finished. Costs are in tokens (texts) or items (images). */
export type RanBatch = {
  /** The length of its first item, which determines its budget. */
  length: number;
  paddedCost: number;
  realCost: number;
  /** Milliseconds of the run, without waiting. */
  ms: number;
};

export type BudgetOptions = {
  /** The possible budgets (largest padded costs) of batches with lengths up to `bucket`, in rising order. */
  sizesOf: (bucket: number) => readonly number[];
  /** Upper bounds of the lengths that share a budget, in rising order. Each longer length has its own budget, of one item. */
  buckets: readonly number[];
  /** Where the search begins. */
  start: number;
  /** Where the search begins in buckets that were searched before. */
  from?: Readonly<Record<number, number>> | undefined;
  /** Whether the budgets of `from` are only monitored, not searched again. Default: false. */
  trusted?: boolean;
};

/** Full batches of a bucket cost between half of their budget and all of it: on average this part. */
const TYPICALLY_FULL = 3 / 4;

/** The weight of the newest batch in the moving average of a bucket's speed. */
const NEWEST_WEIGHT = 0.2;

/** A model that takes no measurable time has no infinite speed. */
const LEAST_MS_PER_COST = 1e-6;

/** Other time of a batch, over all threads: cutting, packing, two messages, waking up. It matters for fast models. */
const OVERHEAD_MS = 0.25;

/** `msPerCost`: moving average of the time of a unit of padded cost; undefined before the first full batch. */
type Bucket = { sizes: readonly number[]; search: BatchSizeSearch; msPerCost: number | undefined };

/** The budgets of one model on one kind of device, by length of the items. A larger batch would not be faster per item. */
export class Budgets {
  readonly #options: BudgetOptions;
  readonly #buckets = new Map<number, Bucket>();
  /** Batches of this cost and more ran out of memory. */
  #tooLarge = Number.POSITIVE_INFINITY;

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  /** The current budget of batches that begin with an item of this length. */
  peek(length: number): number {
    const { sizes, search } = this.#bucketOf(length);
    return sizes[search.best]!;
  }

  /** The budget of the next batch that begins with an item of this length. */
  next(length: number): number {
    const { sizes, search } = this.#bucketOf(length);
    return sizes[search.next()]!;
  }

  /** The largest budget that the next batch can get: this much should be ready. */
  get reach(): number {
    const known = [...this.#buckets.values()].map(({ sizes, search }) => sizes[search.reach]!);
    return known.length > 0 ? Math.max(...known) : this.#options.start;
  }

  /** Whether the search has ended for all lengths seen so far. */
  get settled(): boolean {
    const known = [...this.#buckets.values()];
    return known.length > 0 && known.every(({ search }) => search.settled);
  }

  /** The budgets found, by bucket. */
  get found(): Record<number, number> {
    const settled = [...this.#buckets].filter(([, { search }]) => search.settled);
    return Object.fromEntries(settled.map(([bucket, { sizes, search }]) => [bucket, sizes[search.best]!]));
  }

  /** The measured cost per ms of each bucket's budget. */
  get rates(): Map<number, number> {
    const rates = [...this.#buckets].map(([bucket, { search }]) => [bucket, search.rate] as const);
    return new Map(rates.filter((entry): entry is [number, number] => entry[1] !== undefined));
  }

  record({ length, paddedCost, realCost, ms }: RanBatch): void {
    const { sizes, search } = this.#bucketOf(length);
    search.record(nearest(sizes, paddedCost / TYPICALLY_FULL), realCost / (ms + OVERHEAD_MS));
  }

  /** Records the speed of a batch that is as large as allowed. It says nothing about the best budget. */
  recordRate({ length, paddedCost, ms }: RanBatch): void {
    const bucket = this.#bucketOf(length);
    const newest = ms / paddedCost;
    bucket.msPerCost =
      bucket.msPerCost === undefined ? newest : bucket.msPerCost + NEWEST_WEIGHT * (newest - bucket.msPerCost);
  }

  /** The measured padded cost per ms of batches that begin with an item of this length; undefined before the first full batch. */
  rateOf(length: number): number | undefined {
    const { msPerCost } = this.#bucketOf(length);
    return msPerCost === undefined ? undefined : 1 / Math.max(msPerCost, LEAST_MS_PER_COST);
  }

  /** Records that a batch of this padded cost ran out of memory: no batch of that size is cut again. */
  tooLarge(paddedCost: number): void {
    this.#tooLarge = Math.min(this.#tooLarge, paddedCost);
    for (const bucket of this.#buckets.values()) this.#bound(bucket);
  }

  #bucketOf(length: number): Bucket {
    const { buckets, sizesOf, from = {}, trusted = false } = this.#options;
    const bound = buckets.find((each) => each >= length) ?? length;
    let bucket = this.#buckets.get(bound);
    if (!bucket) {
      const sizes = sizesOf(bound);
      const start = nearest(sizes, from[bound] ?? this.#nearby(bound));
      const search = new BatchSizeSearch(sizes.length, start, trusted && bound in from);
      bucket = { sizes, search, msPerCost: undefined };
      this.#bound(bucket);
      this.#buckets.set(bound, bucket);
    }
    return bucket;
  }

  /** The budget of the nearest bucket in use. */
  #nearby(bound: number): number {
    const distance = ([other]: [number, Bucket]) => Math.abs(Math.log(other / bound));
    const [closest] = [...this.#buckets].sort((a, b) => distance(a) - distance(b));
    return closest ? closest[1].sizes[closest[1].search.best]! : this.#options.start;
  }

  #bound({ sizes, search }: Bucket): void {
    const size = sizes.findIndex((each) => each >= this.#tooLarge);
    if (size >= 0) search.tooLarge(size);
  }
}

/** The index of the size with the ratio nearest to 1. */
function nearest(sizes: readonly number[], size: number): number {
  const distance = (each: number) => Math.abs(Math.log(each / size));
  return sizes.reduce((best, each, at) => (distance(each) < distance(sizes[best]!) ? at : best), 0);
}
