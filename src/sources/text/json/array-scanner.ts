import { isUtf8 } from "node:buffer";
import type { ItemError } from "../../../schemas/item.ts";
import { MAX_RECORD_BYTES } from "../../source.ts";
import { ByteWindow } from "../byte-window.ts";
import type { Line } from "../line-scanner.ts";
import type { Scanner, ScanPlace } from "../scanner.ts";
import { isSpace, missedEnd } from "./missed-end.ts";
import { OpenBrackets } from "./open-brackets.ts";

const LF = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Before a record or the end of the array. */
const BETWEEN = 0;
/** In an object, an array or a string. */
const NESTED = 1;
/** In anything else: a number, a word, or invalid JSON. */
const WORD = 2;
/** In a record with a string that is not closed on its line. The line on which the next record begins is searched. */
const DAMAGED = 3;
/** After the end of the array: with only white space so far; with other content. */
const AFTER = 4;
const MORE_AFTER = 5;
/** There are no more records. The rest is skipped. */
const OVER = 6;

/** A record in the window, or its error, and the line on which it begins. */
type Found = { line: number; start: number; stop: number } | { line: number; error: ItemError };

/**
 * Finds the records of a JSON array in UTF-8 bytes, in chunks of any size, from the byte after the opening bracket on. Records are returned as
 * text, not parsed. Commas are not checked: any number of them and white space may separate two records. Several arrays may follow one another.
 *
 * A record over 1 MiB becomes an error and is skipped. So does a record with a string that is not closed on its line. Then the next record begins
 * on the next line that has the indentation of the record's first line and begins an object; without such a line, the rest is left out. Such a line
 * also ends a record that is not closed, if an object is not allowed there. An array without its end, or content after its end that is not an array,
 * becomes an error of a last record. Memory is bounded by 1 MiB. Each byte is examined a bounded number of times.
 */
export class JsonArrayScanner implements Scanner<Line> {
  line: number;
  readonly #window: ByteWindow;
  #state: number;
  /** Offset of the next byte to examine, from the start of the window. `#dropped`: bytes of the record before the window. */
  #at = 0;
  #dropped = 0;
  readonly #open = new OpenBrackets();
  #isQuoted = false;
  /** Line breaks within the record. */
  #breaks = 0;
  /** Indentation of the record in bytes; -1 if it is not the first on its line. */
  #indent = -1;
  #reach = 0;

  constructor(at: ScanPlace = { position: 0, line: 1 }) {
    this.line = at.line;
    this.#window = new ByteWindow(at.position);
    this.#state = at.discarding ? OVER : BETWEEN;
  }

  /** The offset after the last record. */
  get position(): number {
    return this.#window.position;
  }

  get place(): ScanPlace {
    return { position: this.position, line: this.line, ...(this.#state === OVER ? { discarding: true } : {}) };
  }

  takeReach(): number {
    const reach = this.#reach;
    this.#reach = 0;
    return reach;
  }

  append(chunk: Uint8Array): void {
    this.#window.append(chunk);
  }

  next(last: boolean): Line | undefined {
    const found = this.#find(last);
    if (found === undefined || "error" in found) return found;
    const { bytes } = this.#window;
    const { line, start, stop } = found;
    return { line, text: bytes.toString("utf8", start, stop), repaired: !isUtf8(bytes.subarray(start, stop)) };
  }

  pass(last: boolean): boolean {
    return this.#find(last) !== undefined;
  }

  #find(last: boolean): Found | undefined {
    do {
      if (this.#state === BETWEEN) this.#skip();
    } while (this.#state === AFTER && this.#beginsAnother());
    let found: Found | undefined;
    if (this.#state === NESTED) found = this.#findEnd();
    else if (this.#state === WORD) found = this.#findWordEnd(last);
    if (this.#state === DAMAGED) found = this.#findNext();
    if (this.#state === MORE_AFTER || this.#state === OVER) this.#drop(this.#window.end);
    return found ?? (last ? this.#finish() : undefined);
  }

  /** Moves to the next record or to the end of the array. */
  #skip(): void {
    const window = this.#window;
    const { bytes, end } = window;
    for (; window.start < end; window.start++) {
      const byte = bytes[window.start]!;
      if (byte === LF) {
        this.line++;
        this.#indent = 0;
      } else if (byte === COMMA) this.#indent = -1;
      else if (!isSpace(byte)) break;
      else if (this.#indent >= 0) this.#indent++;
    }
    if (window.start === end) return;
    const byte = bytes[window.start];
    if (byte === CLOSE_ARRAY) {
      window.start++;
      this.#state = AFTER;
    } else this.#state = byte === OPEN_OBJECT || byte === OPEN_ARRAY || byte === QUOTE ? NESTED : WORD;
  }

  /** After the end of an array: enters the array that follows. @returns whether one follows */
  #beginsAnother(): boolean {
    const window = this.#window;
    const { bytes, end } = window;
    for (; window.start < end && isSpace(bytes[window.start]!); window.start++)
      if (bytes[window.start] === LF) this.line++;
    if (window.start === end) return false;
    if (bytes[window.start] !== OPEN_ARRAY) {
      this.#state = MORE_AFTER;
      return false;
    }
    window.start++;
    this.#state = BETWEEN;
    this.#indent = -1;
    return true;
  }

  #findEnd(): Found | undefined {
    const { bytes, start, end } = this.#window;
    const open = this.#open;
    let at = start + this.#at;
    let isQuoted = this.#isQuoted;
    let stop: number | undefined;
    while (at < end && stop === undefined) {
      let byte = bytes[at++]!;
      if (isQuoted) {
        // A fast loop: most bytes are in strings.
        while (byte !== QUOTE && byte !== BACKSLASH && byte !== LF && at < end) byte = bytes[at++]!;
        if (byte === QUOTE) {
          isQuoted = false;
          if (open.depth === 0) stop = at;
        } else if (byte === BACKSLASH) {
          // The escaped character may be in the next chunk.
          if (at === end) {
            at--;
            break;
          }
          if (bytes[at] !== LF) at++;
        } else if (byte === LF) {
          at--;
          this.#state = DAMAGED;
          break;
        }
      } else if (byte === QUOTE) isQuoted = true;
      else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        stop = byte === OPEN_OBJECT && open.isInObject ? this.#missedEnd(at - 1) : undefined;
        open.add(byte);
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
        open.close(byte);
        if (open.depth === 0) stop = at;
      } else if (byte === LF) this.#breaks++;
    }
    this.#isQuoted = isQuoted;
    return this.#found(stop ?? at, stop);
  }

  /** The end of the record, if it is not closed and the object that begins at `at` is the next record. */
  #missedEnd(at: number): number | undefined {
    const { bytes, start } = this.#window;
    // The first bytes of a longer record may have been dropped, which depends on the chunks.
    if (this.#dropped + at - start > MAX_RECORD_BYTES) return undefined;
    const end = missedEnd(bytes, at, this.#indent);
    if (end === undefined) return undefined;
    this.#breaks -= end.breaks;
    this.#reach = this.position + at + 1 - start;
    return end.stop;
  }

  #findWordEnd(last: boolean): Found | undefined {
    const { bytes, start, end } = this.#window;
    let at = start + Math.max(this.#at, this.#dropped > 0 ? 0 : 1);
    while (at < end && !endsWord(bytes[at]!)) at++;
    return this.#found(at, at < end || last ? at : undefined);
  }

  /** The record that ends at `stop`. Without `stop`, the record goes on after `at`: its bytes stay in the window, unless it is too long. */
  #found(at: number, stop: number | undefined): Found | undefined {
    const window = this.#window;
    const { start } = window;
    const { line } = this;
    const length = this.#dropped + at - start;
    if (stop !== undefined) {
      this.#leave(stop);
      if (length <= MAX_RECORD_BYTES) return { line, start, stop };
      const message = `line ${line}: the record that begins here is too long: expected at most ${MAX_RECORD_BYTES} bytes, got ${length}`;
      return { line, error: { code: "RECORD_TOO_LARGE", message } };
    }
    this.#at = at - start;
    if (length <= MAX_RECORD_BYTES) return undefined;
    this.#dropped = length;
    this.#drop(at);
    return undefined;
  }

  /** Searches, from a line break on, the line on which the next record begins. */
  #findNext(): Found | undefined {
    const { bytes, start, end } = this.#window;
    let at = start + this.#at;
    for (;;) {
      at = bytes.indexOf(LF, at);
      if (at === -1 || at >= end) {
        this.#drop(end);
        return undefined;
      }
      const lineStart = at + 1;
      const deepest = lineStart + (this.#indent === -1 ? 1 : this.#indent);
      let open = lineStart;
      while (open < end && open < deepest && isSpace(bytes[open]!) && bytes[open] !== LF) open++;
      if (open >= end) {
        this.#drop(at);
        return undefined;
      }
      if (bytes[open] === OPEN_OBJECT && (this.#indent === -1 || open === deepest)) {
        this.#reach = this.position + open + 1 - start;
        return this.#damaged(at);
      }
      this.#breaks++;
      at = lineStart;
    }
  }

  /** The error of a record with an open string. @param stop the line break before the next record, if there is one */
  #damaged(stop?: number): Found {
    const { line } = this;
    if (stop === undefined) this.line += this.#breaks;
    else this.#leave(stop);
    const rest =
      stop === undefined ? "; the rest of the input is left out" : `; reading continues after line ${this.line}`;
    return this.#invalid(line, `a string in the record that begins here is not closed on its line${rest}`);
  }

  /** The error, if any, at the end of the input. */
  #finish(): Found | undefined {
    const state = this.#state;
    const { line } = this;
    this.#drop(this.#window.end);
    this.#state = OVER;
    if (state === BETWEEN)
      return this.#invalid(line, "the array is cut off: expected a record or ], got the end of the input");
    if (state === NESTED) return this.#invalid(line, "the array is cut off in the record that begins here");
    if (state === DAMAGED) return this.#damaged();
    if (state !== MORE_AFTER) return undefined;
    return this.#invalid(
      line,
      "expected the end of the input or another array after the array's ], got other content, which is left out",
    );
  }

  #invalid(line: number, why: string): Found {
    return { line, error: { code: "RECORD_INVALID", message: `line ${line}: ${why}` } };
  }

  #drop(to: number): void {
    this.#window.start = to;
    this.#at = 0;
  }

  /** Ends the record before `stop`. */
  #leave(stop: number): void {
    this.#drop(stop);
    this.line += this.#breaks;
    this.#state = BETWEEN;
    [this.#dropped, this.#open.depth, this.#breaks, this.#indent] = [0, 0, 0, -1];
    this.#isQuoted = false;
  }
}

function endsWord(byte: number): boolean {
  return isSpace(byte) || byte === COMMA || byte === CLOSE_ARRAY || byte === OPEN_OBJECT || byte === QUOTE;
}
