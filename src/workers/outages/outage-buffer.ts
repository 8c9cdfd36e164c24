/** Bounds the memory of labeled rows that wait for an unavailable store, in bytes of their encoded parts. */
export class OutageBuffer {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Reserves room for a part. Dispose of the result when the part is written. @returns undefined if there is no room
   */
  reserve(bytes: number): Disposable | undefined {
    if (this.#bytes + bytes > this.#maxBytes) return undefined;
    this.#bytes += bytes;
    return {
      [Symbol.dispose]: () => {
        this.#bytes -= bytes;
      },
    };
  }
}
