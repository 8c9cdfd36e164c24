import { isUtf8 } from "node:buffer";
import type { ItemError } from "../schemas/item.ts";
import { MAX_RECORD_BYTES } from "./source.ts";
import { ByteWindow } from "./window.ts";

/** A line without its break, and its number from 1; or why it cannot be read. */
export type Line = { line: number; text: string; repaired: boolean } | { line: number; error: ItemError };

const LF = 0x0a;
const CR = 0x0d;

/** Cuts UTF-8 bytes, in chunks of any size, into lines that end in LF or CRLF. A line over 1 MiB becomes an error. */
export class LineScanner {
  /** The number of the line that is being read. */
  line = 1;
  #window = new ByteWindow();
  /** Bytes from the window's start on that are known to hold no line break. */
  #searched = 0;
  /** The rest of a line that was too long is passed over. */
  #discarding = false;

  /** The lines that end in this chunk; to be taken to the end before the next call. */
  *push(chunk: Uint8Array): Generator<Line> {
    const window = this.#window;
    window.append(chunk);
    for (;;) {
      const found = window.bytes.indexOf(LF, window.start + this.#searched);
      if (found === -1 || found >= window.end) break;
      const line = this.#take(found);
      window.start = found + 1;
      this.#searched = 0;
      if (line !== undefined) yield line;
      this.line++;
    }
    this.#searched = window.end - window.start;
    if (this.#searched > MAX_RECORD_BYTES) {
      if (!this.#discarding) yield this.#tooLong();
      this.#discarding = true;
      window.start = window.end;
      this.#searched = 0;
    }
  }

  /** The last line, where it has no line break. */
  *end(): Generator<Line> {
    if (this.#window.start === this.#window.end) return;
    const line = this.#take(this.#window.end);
    if (line !== undefined) yield line;
  }

  #take(end: number): Line | undefined {
    const { bytes, start } = this.#window;
    if (this.#discarding) {
      this.#discarding = false;
      return undefined;
    }
    if (end - start > MAX_RECORD_BYTES) return this.#tooLong();
    const stop = end > start && bytes[end - 1] === CR ? end - 1 : end;
    const repaired = !isUtf8(bytes.subarray(start, stop));
    return { line: this.line, text: bytes.toString("utf8", start, stop), repaired };
  }

  #tooLong(): Line {
    const message = `line ${this.line} is too long: expected at most ${MAX_RECORD_BYTES} bytes`;
    return { line: this.line, error: { code: "RECORD_TOO_LARGE", message } };
  }
}
