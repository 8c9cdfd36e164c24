/** A stream of bytes whose beginning can be read in advance. An error met by `peek` is thrown when reading reaches that place. */
export class Peekable implements AsyncIterable<Buffer> {
  readonly #chunks: AsyncIterator<Buffer>;
  #head: Buffer[] = [];
  #done = false;
  #failure: unknown;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The first `length` bytes or more; fewer if the stream is shorter. */
  async peek(length: number): Promise<Buffer> {
    let buffered = this.#head.reduce((sum, chunk) => sum + chunk.length, 0);
    try {
      while (!this.#done && buffered < length) {
        const { value, done } = await this.#chunks.next();
        if (done) {
          this.#done = true;
        } else {
          this.#head.push(value);
          buffered += value.length;
        }
      }
    } catch (error) {
      this.#done = true;
      this.#failure = error;
    }
    return Buffer.concat(this.#head);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      yield* this.#head.splice(0);
      if (this.#failure !== undefined) throw this.#failure;
      while (!this.#done) {
        const { value, done } = await this.#chunks.next();
        if (done) this.#done = true;
        else yield value;
      }
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
