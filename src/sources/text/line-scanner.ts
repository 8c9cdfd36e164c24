import { isUtf8 } from "node:buffer";
import type { ItemError } from "../../schemas/item.ts";
import { MAX_RECORD_BYTES } from "../source.ts";
import { ByteWindow } from "./byte-window.ts";
import { recordsIn, type Scanner, type ScanPlace } from "./scanner.ts";

/** A line without its break, and its number from 1; or why it cannot be read. */
export type Line = { line: number; text: string; repaired: boolean } | { line: number; error: ItemError };

const LF = 0x0a;
const CR = 0x0d;

/** Cuts UTF-8 bytes, in chunks of any size, into lines that end in LF or CRLF. A line over 1 MiB becomes an error. */
export class LineScanner implements Scanner<Line> {
  line: number;
  readonly #window: ByteWindow;
  readonly #skipBlank: boolean;
  /** Bytes from the window's start on that are known to hold no line break. */
  #searched = 0;
  /** The rest of a line that was too long is passed over. */
  #discarding: boolean;

  constructor({ skipBlank = false, at }: { skipBlank?: boolean; at?: ScanPlace | undefined } = {}) {
    this.line = at?.line ?? 1;
    this.#window = new ByteWindow(at?.position);
    this.#discarding = at?.discarding ?? false;
    this.#skipBlank = skipBlank;
  }

  get position(): number {
    return this.#window.position;
  }

  get place(): ScanPlace {
    return { position: this.position, line: this.line, ...(this.#discarding ? { discarding: true } : {}) };
  }

  /** A line that is too long is left right after the byte that made it so. */
  takeReach(): number {
    return 0;
  }

  /** The lines that end in this chunk; to be taken to the end before the next call. */
  push(chunk: Uint8Array): Generator<Line> {
    this.append(chunk);
    return recordsIn(this, false);
  }

  /** The last line, where it has no line break. */
  end(): Generator<Line> {
    return recordsIn(this, true);
  }

  append(chunk: Uint8Array): void {
    this.#window.append(chunk);
  }

  next(last: boolean): Line | undefined {
    const start = this.#advance(last);
    if (start === undefined) return undefined;
    const { line } = this;
    if (this.#discarding) {
      const message = `line ${line} is too long: expected at most ${MAX_RECORD_BYTES} bytes`;
      return { line, error: { code: "RECORD_TOO_LARGE", message } };
    }
    this.line++;
    const { bytes } = this.#window;
    const stop = this.#stopOf(start);
    return { line, text: bytes.toString("utf8", start, stop), repaired: !isUtf8(bytes.subarray(start, stop)) };
  }

  pass(last: boolean): boolean {
    if (this.#advance(last) === undefined) return false;
    if (!this.#discarding) this.line++;
    return true;
  }

  /**
   * Goes past the next line, or, where it is too long, that far into it, which `#discarding` says: where it begins in the window.
   * Undefined where its end is not there yet.
   */
  #advance(last: boolean): number | undefined {
    const window = this.#window;
    for (;;) {
      const { bytes, start, end } = window;
      let stop = bytes.indexOf(LF, start + this.#searched);
      const isOpen = stop === -1 || stop >= end;
      if (isOpen) stop = end;
      if (this.#discarding) {
        window.start = isOpen ? end : stop + 1;
        if (isOpen) return undefined;
        this.#discarding = false;
        this.line++;
        continue;
      }
      if (stop - start > MAX_RECORD_BYTES) {
        window.start = start + MAX_RECORD_BYTES + 1;
        this.#searched = 0;
        this.#discarding = true;
        return start;
      }
      if (isOpen && (!last || start === end)) {
        this.#searched = end - start;
        return undefined;
      }
      window.start = isOpen ? end : stop + 1;
      this.#searched = 0;
      if (!this.#skipBlank || !this.#isBlank(start)) return start;
      this.line++;
    }
  }

  /** Where the line ends that began at `start` and was just passed. */
  #stopOf(start: number): number {
    const { bytes, start: next } = this.#window;
    const stop = next > start && bytes[next - 1] === LF ? next - 1 : next;
    return stop > start && bytes[stop - 1] === CR ? stop - 1 : stop;
  }

  #isBlank(start: number): boolean {
    const { bytes } = this.#window;
    // The first byte of most lines is no space, nor the beginning of one of the longer ones.
    const first = bytes[start]!;
    if (first > 0x20 && first < 0x80) return false;
    return bytes.toString("utf8", start, this.#stopOf(start)).trim() === "";
  }
}
