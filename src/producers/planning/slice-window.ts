/** Maximum bytes of the items in the queued jobs of a run. */
const MAX_BYTES = 64_000_000;

/** The slices of a run that are queued or active, with their sizes. An estimate: it assumes that slices end in the order of queueing. */
export class SliceWindow {
  readonly #maxSlices: number;
  readonly #sizes: number[] = [];
  #bytes = 0;

  constructor(maxSlices: number) {
    this.#maxSlices = maxSlices;
  }

  /** Whether a slice of `bytes` may be queued beside `slices` others. A slice alone always fits. */
  fits(slices: number, bytes: number): boolean {
    return slices < this.#maxSlices && (this.#bytes === 0 || this.#bytes + bytes <= MAX_BYTES);
  }

  add(bytes: number): void {
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** Removes the oldest slices until `slices` are left. */
  shrinkTo(slices: number): void {
    while (this.#sizes.length > Math.max(0, slices)) this.#bytes -= this.#sizes.shift()!;
  }
}
