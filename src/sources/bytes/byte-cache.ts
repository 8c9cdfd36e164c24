/** A cache that keeps the last used values up to a number of bytes. Concurrent calls for one key make its value once. */
export class ByteCache<T> {
  readonly #limit: number;
  readonly #sizeOf: (value: T) => number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, { value: Promise<T>; bytes: number }>();
  #bytes = 0;

  /** @param limit bytes of all values @param sizeOf bytes of a value */
  constructor(limit: number, sizeOf: (value: T) => number) {
    this.#limit = limit;
    this.#sizeOf = sizeOf;
  }

  async get(key: string, make: () => Promise<T>): Promise<T> {
    const found = this.#entries.get(key);
    if (found) {
      this.#entries.delete(key);
      this.#entries.set(key, found);
      return found.value;
    }
    const entry = { value: make(), bytes: 0 };
    this.#entries.set(key, entry);
    try {
      const value = await entry.value;
      entry.bytes = Math.max(1, this.#sizeOf(value));
      this.#bytes += entry.bytes;
      this.#trim();
      return value;
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
  }

  #trim(): void {
    for (const [key, { bytes }] of this.#entries) {
      if (this.#bytes <= this.#limit) return;
      // A value without a size is still being made.
      if (bytes === 0) continue;
      this.#entries.delete(key);
      this.#bytes -= bytes;
    }
  }
}
