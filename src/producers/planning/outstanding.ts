/** What the queued slices of a run may take of Redis together, where their items travel. */
const MOST_BYTES = 64_000_000;

/** The sizes of a run's slices that are queued or active, as far as that can be told: slices are done about in the order they came. */
export class Outstanding {
  readonly #most: number;
  readonly #sizes: number[] = [];
  #bytes = 0;

  /** @param most slices */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether one more may be queued beside so many. A slice that is alone always may. */
  fits(slices: number, bytes: number): boolean {
    return slices < this.#most && (this.#bytes === 0 || this.#bytes + bytes <= MOST_BYTES);
  }

  add(bytes: number): void {
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** So many are outstanding still. */
  left(slices: number): void {
    while (this.#sizes.length > Math.max(0, slices)) this.#bytes -= this.#sizes.shift()!;
  }
}
