import { isUtf8 } from "node:buffer";
import type { ItemError } from "../../schemas/item.ts";
import { MAX_RECORD_BYTES } from "../source.ts";
import { ByteWindow } from "./byte-window.ts";
import { recordsIn, type Scanner, type ScanPlace } from "./scanner.ts";

/** A line without its line break, and its number from 1. Or the error of a line that cannot be read. */
export type Line = { line: number; text: string; repaired: boolean } | { line: number; error: ItemError };

const LF = 0x0a;
const CR = 0x0d;

/** Splits UTF-8 bytes, in chunks of any size, into lines that end in LF or CRLF. A line over 1 MiB becomes an error. */
export class LineScanner implements Scanner<Line> {
  line: number;
  readonly #window: ByteWindow;
  readonly #skipBlank: boolean;
  /** Bytes from the start of the window that were searched and contain no line break. */
  #searched = 0;
  /** The rest of a line that is too long is skipped. */
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

  /** Always 0: no byte after a line that is too long is examined. */
  takeReach(): number {
    return 0;
  }

  /** The lines that end in this chunk. The caller must read all of them before the next call. */
  push(chunk: Uint8Array): Generator<Line> {
    this.append(chunk);
    return recordsIn(this, false);
  }

  /** The last line, if it has no line break. */
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
   * Moves past the next line. If it is too long, moves past the allowed length and sets `#discarding`.
   * @returns the start of the line in the window. Undefined if its end is not in the window yet
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

  /** The end of the line that began at `start` and was just passed. */
  #stopOf(start: number): number {
    const { bytes, start: next } = this.#window;
    const stop = next > start && bytes[next - 1] === LF ? next - 1 : next;
    return stop > start && bytes[stop - 1] === CR ? stop - 1 : stop;
  }

  #isBlank(start: number): boolean {
    const { bytes } = this.#window;
    // The first byte of most lines is neither a space nor the first byte of a longer white space character.
    const first = bytes[start]!;
    if (first > 0x20 && first < 0x80) return false;
    return bytes.toString("utf8", start, this.#stopOf(start)).trim() === "";
  }
}
