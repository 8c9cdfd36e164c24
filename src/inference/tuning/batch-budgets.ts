import { BatchSizeSearch } from "./batch-size-search.ts";

/** A batch that the model is through with. Costs are in tokens (texts) or items (images). */
export type RanBatch = {
  /** Length of its first item, by which its budget was chosen. */
  length: number;
  paddedCost: number;
  realCost: number;
  /** That the model took, without waiting. */
  ms: number;
};

export type BudgetOptions = {
  /** The most padded cost of batches whose items are of lengths up to `bucket`: those that may be chosen, in rising order. */
  sizesOf: (bucket: number) => readonly number[];
  /** Upper bounds of the lengths that share a budget, in rising order. Longer items have one of their own, of one item. */
  buckets: readonly number[];
  /** Where the search begins. */
  start: number;
  /** Where it begins in buckets that were searched before. */
  from?: Readonly<Record<number, number>> | undefined;
  /** Whether those are to be watched only. */
  trusted?: boolean;
};

/** Full batches of a bucket cost between half of their budget and all of it: so much of it on average. */
const TYPICALLY_FULL = 3 / 4;

/** What a batch costs besides, in all threads together: cutting, packing, two messages, waking up. Small for a model, not for one that is fast. */
const OVERHEAD_MS = 0.25;

type Bucket = { sizes: readonly number[]; search: BatchSizeSearch };

/** The budgets of one model on one kind of device, by length of the items: where a larger batch gains nothing any more. */
export class Budgets {
  readonly #options: BudgetOptions;
  readonly #buckets = new Map<number, Bucket>();
  /** Batches of this cost and more found no memory. */
  #tooLarge = Number.POSITIVE_INFINITY;

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  /** The budget that batches beginning with an item of this length have now. */
  peek(length: number): number {
    const { sizes, search } = this.#bucketOf(length);
    return sizes[search.best]!;
  }

  /** The budget of the next batch that begins with an item of this length. */
  next(length: number): number {
    const { sizes, search } = this.#bucketOf(length);
    return sizes[search.next()]!;
  }

  /** The most that a batch may be given next: what should be at hand. */
  get reach(): number {
    const known = [...this.#buckets.values()].map(({ sizes, search }) => sizes[search.reach]!);
    return known.length > 0 ? Math.max(...known) : this.#options.start;
  }

  /** Whether all of what came so far has its budget. */
  get settled(): boolean {
    const known = [...this.#buckets.values()];
    return known.length > 0 && known.every(({ search }) => search.settled);
  }

  /** What was found, by bucket. */
  get found(): Record<number, number> {
    const settled = [...this.#buckets].filter(([, { search }]) => search.settled);
    return Object.fromEntries(settled.map(([bucket, { sizes, search }]) => [bucket, sizes[search.best]!]));
  }

  /** Cost per ms of each bucket's budget, where it was measured. */
  get rates(): Map<number, number> {
    const rates = [...this.#buckets].map(([bucket, { search }]) => [bucket, search.rate] as const);
    return new Map(rates.filter((entry): entry is [number, number] => entry[1] !== undefined));
  }

  record({ length, paddedCost, realCost, ms }: RanBatch): void {
    const { sizes, search } = this.#bucketOf(length);
    search.record(nearest(sizes, paddedCost / TYPICALLY_FULL), realCost / (ms + OVERHEAD_MS));
  }

  /** A batch of this padded cost found no memory on the device: none of its size is cut again. */
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
      bucket = { sizes, search };
      this.#bound(bucket);
      this.#buckets.set(bound, bucket);
    }
    return bucket;
  }

  /** The budget of the nearest bucket that has one. */
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

/** The number of the size that is the nearest, by their ratio. */
function nearest(sizes: readonly number[], size: number): number {
  const distance = (each: number) => Math.abs(Math.log(each / size));
  return sizes.reduce((best, each, at) => (distance(each) < distance(sizes[best]!) ? at : best), 0);
}
