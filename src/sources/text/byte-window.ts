/**
 * A moving window over a stream of bytes: the bytes that were appended and not yet dropped, in one buffer. The buffer has at most four
 * times the most bytes that were in the window at once. Each byte is moved a bounded number of times, even with small chunks.
 */
export class ByteWindow {
  bytes: Buffer = Buffer.allocUnsafe(128 * 1024);
  /** The window is `bytes[start]` to `bytes[end]` (exclusive). `append` may change both. */
  start = 0;
  end = 0;
  /** Offset of `bytes[0]` in the input. */
  #base: number;

  /** @param position offset in the input at which the stream begins */
  constructor(position = 0) {
    this.#base = position;
  }

  /** Offset of `bytes[start]` in the input. */
  get position(): number {
    return this.#base + this.start;
  }

  append(chunk: Uint8Array): void {
    if (this.end + chunk.length > this.bytes.length) this.#makeRoom(chunk.length);
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  #makeRoom(more: number): void {
    const length = this.end - this.start;
    const target = (length + more) * 2 <= this.bytes.length ? this.bytes : Buffer.allocUnsafe((length + more) * 2);
    this.bytes.copy(target, 0, this.start, this.end);
    this.bytes = target;
    this.#base += this.start;
    this.start = 0;
    this.end = length;
  }
}
