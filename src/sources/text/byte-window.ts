/**
 * A moving window over a stream of bytes: what was appended and not yet dropped, in one piece. Its memory is at most four
 * times the most that is held at once, and each byte is moved a bounded number of times however small the chunks are.
 */
export class ByteWindow {
  bytes: Buffer = Buffer.allocUnsafe(128 * 1024);
  /** The held bytes are `bytes[start]` up to `bytes[end]`, excluded. Both may change with each `append`. */
  start = 0;
  end = 0;
  /** Where in the stream `bytes[0]` lies. */
  #base: number;

  /** @param position where in its input the stream begins */
  constructor(position = 0) {
    this.#base = position;
  }

  /** Where in its input `bytes[start]` lies. */
  get position(): number {
    return this.#base + this.start;
  }

  append(chunk: Uint8Array): void {
    if (this.end + chunk.length > this.bytes.length) this.#makeRoom(chunk.length);
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  #makeRoom(more: number): void {
    const held = this.end - this.start;
    const target = (held + more) * 2 <= this.bytes.length ? this.bytes : Buffer.allocUnsafe((held + more) * 2);
    this.bytes.copy(target, 0, this.start, this.end);
    this.bytes = target;
    this.#base += this.start;
    this.start = 0;
    this.end = held;
  }
}
