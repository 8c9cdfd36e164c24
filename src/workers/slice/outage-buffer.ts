/** A bound on the labeled rows that wait in memory for a store that is out, in bytes of their parts. */
export class OutageBuffer {
  readonly #most: number;
  #bytes = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** @returns what is to be disposed of when they wait no more; undefined where there is no room for them */
  take(bytes: number): Disposable | undefined {
    if (this.#bytes + bytes > this.#most) return undefined;
    this.#bytes += bytes;
    return {
      [Symbol.dispose]: () => {
        this.#bytes -= bytes;
      },
    };
  }
}
