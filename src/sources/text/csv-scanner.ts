import { isUtf8 } from "node:buffer";
import type { ItemError } from "../../schemas/item.ts";
import { MAX_RECORD_BYTES } from "../source.ts";
import { ByteWindow } from "./byte-window.ts";
import { recordsIn, type Scanner, type ScanPlace } from "./scanner.ts";

/**
 * A record of a CSV file and the line on which it begins, from 1. `fields`: the picked ones. `count`: number of all fields. Or the error of a
 * record that cannot be read.
 */
export type CsvRecord =
  | { line: number; fields: string[]; count: number; repaired: boolean }
  | { line: number; error: ItemError };

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;

const FIELD_START = 0;
const PLAIN = 1;
const QUOTED = 2;
/** After a quote within a quoted field: either the end of the field, or the first quote of a doubled one. */
const QUOTE_SEEN = 3;
/** Skipping the rest of a line. */
const DISCARDING = 4;

/** The most bytes that may be read a second time after bad records. Spent credit is regained with each byte that is read. */
const MAX_CREDIT = 16 * MAX_RECORD_BYTES;

type Bad = { code: "RECORD_INVALID" | "RECORD_TOO_LARGE"; why: string };

/**
 * Reads RFC 4180 CSV from UTF-8 bytes in chunks of any size. The result does not depend on the chunks. Lines end in LF, CRLF or CR;
 * blank lines are skipped. A quote opens a field only as its first byte. Elsewhere it is data.
 *
 * A record with unbalanced quotes, or of 1 MiB or more, becomes one error. Reading resumes at the line after the one on which the record
 * began, so that an unclosed quote costs only its own line. Memory is bounded by 1 MiB. The work is linear: if bad records would require
 * reading more than about twice the input, the lines up to the failure are left out.
 */
export class CsvScanner implements Scanner<CsvRecord> {
  line: number;
  /** The columns to decode, in the order of `fields`. Default: all. It may be changed between records. */
  pick: readonly number[] | undefined;

  readonly #delimiter: number;
  readonly #window: ByteWindow;
  #state: number;
  /** Offset of the next byte to examine. This and the following offsets count from the record's first byte, the start of the window. */
  #at = 0;
  #fieldStart = 0;
  /** Three numbers for each field: begin, end, and 1 if it contains doubled quotes. Never shortened: only the first `#count` fields are valid. */
  readonly #bounds: number[] = [];
  #count = 0;
  #doubled = 0;
  /** Line breaks within the record's quoted fields. */
  #breaks = 0;
  /** The byte before the record was a CR. An LF that follows belongs to the same line break. */
  #afterCr = false;
  /** Credit at the offset `#creditedAt`. It depends only on the position, not on the chunks, so a scanner that begins at a cut has the same. */
  #credit: number;
  #creditedAt: number;
  #reach = 0;

  /** @param delimiter one ASCII character, neither a quote nor a line break */
  constructor(delimiter: string, at: ScanPlace = { position: 0, line: 1 }) {
    this.#delimiter = delimiter.charCodeAt(0);
    this.#window = new ByteWindow(at.position);
    this.line = at.line;
    this.#state = at.discarding ? DISCARDING : FIELD_START;
    this.#credit = at.credit ?? MAX_CREDIT;
    this.#creditedAt = at.position;
  }

  /** The offset after the last record, before its line break. */
  get position(): number {
    return this.#window.position;
  }

  get place(): ScanPlace {
    const credit = this.#earned();
    return {
      position: this.position,
      line: this.line,
      ...(this.#state === DISCARDING ? { discarding: true } : {}),
      ...(credit === MAX_CREDIT ? {} : { credit }),
    };
  }

  takeReach(): number {
    const reach = this.#reach;
    this.#reach = 0;
    return reach;
  }

  /** The records that end in this chunk. The caller must read all of them before the next call. */
  push(chunk: Uint8Array): Generator<CsvRecord> {
    this.append(chunk);
    return recordsIn(this, false);
  }

  /** The last record of the input, if any. */
  end(): Generator<CsvRecord> {
    return recordsIn(this, true);
  }

  append(chunk: Uint8Array): void {
    this.#window.append(chunk);
  }

  next(last: boolean): CsvRecord | undefined {
    const found = this.#find(last);
    if (found === "more") return undefined;
    return found === "record" ? this.#take() : this.#fail(found);
  }

  pass(last: boolean): boolean {
    const found = this.#find(last);
    if (found === "more") return false;
    if (found === "record") this.#leave();
    else this.#fail(found);
    return true;
  }

  #find(last: boolean): "record" | "more" | Bad {
    const found = this.#advance();
    if (found !== "more" || !last || this.#at === 0) return found;
    if (this.#state === QUOTED)
      return { code: "RECORD_INVALID", why: `the quote that opens ${this.#column()} is never closed` };
    this.#closeField(this.#state, this.#at);
    return "record";
  }

  /** Reads to the end of a record (without its line break), to an error in it, or to the end of the bytes. */
  #advance(): "record" | "more" | Bad {
    if (this.#state === DISCARDING) this.#discard();
    if (this.#at === 0) this.#skipBlank();
    const { bytes, start, end } = this.#window;
    const limit = Math.min(end, start + MAX_RECORD_BYTES);
    const delimiter = this.#delimiter;
    let at = start + this.#at;
    let state = this.#state;
    let found: "record" | "more" | Bad = "more";
    let byte: number | undefined;
    while (at < limit) {
      if (state === FIELD_START) {
        this.#fieldStart = at - start;
        this.#doubled = 0;
        state = PLAIN;
        if (bytes[at] === QUOTE) {
          state = QUOTED;
          at++;
        }
      } else if (state === QUOTED) {
        for (; at < limit; at++) {
          byte = bytes[at];
          if (byte === QUOTE) break;
          if (byte === LF ? bytes[at - 1] !== CR : byte === CR) this.#breaks++;
        }
        if (at === limit) break;
        state = QUOTE_SEEN;
        at++;
      } else {
        for (; at < limit; at++) {
          byte = bytes[at];
          if (byte === delimiter || byte === LF || byte === CR || state === QUOTE_SEEN) break;
        }
        if (at === limit) break;
        if (byte === delimiter || byte === LF || byte === CR) {
          this.#closeField(state, at - start);
          if (byte !== delimiter) {
            found = "record";
            break;
          }
          state = FIELD_START;
        } else if (byte === QUOTE) {
          this.#doubled = 1;
          state = QUOTED;
        } else {
          const why = `the closing quote of ${this.#column()} is followed by text, expected a delimiter or a line break`;
          found = { code: "RECORD_INVALID", why };
          break;
        }
        at++;
      }
    }
    this.#state = state;
    this.#at = at - start;
    return found === "more" && this.#at === MAX_RECORD_BYTES ? this.#tooLarge() : found;
  }

  #tooLarge(): Bad {
    const open = this.#state === QUOTED ? `; the quote that opens ${this.#column()} may never be closed` : "";
    return { code: "RECORD_TOO_LARGE", why: `expected less than ${MAX_RECORD_BYTES} bytes${open}` };
  }

  #column(): string {
    return `column ${this.#count + 1}`;
  }

  /** Closes the field that ends before offset `at`. */
  #closeField(state: number, at: number): void {
    const quotes = state === QUOTE_SEEN ? 1 : 0;
    const place = this.#count * 3;
    this.#bounds[place] = state === FIELD_START ? at : this.#fieldStart + quotes;
    this.#bounds[place + 1] = at - quotes;
    this.#bounds[place + 2] = quotes === 1 ? this.#doubled : 0;
    this.#count++;
  }

  /** Decodes the record that ends before the next byte. */
  #take(): CsvRecord {
    const { bytes, start } = this.#window;
    const bounds = this.#bounds;
    const count = this.#count;
    const decode = (column: number): string => {
      const text = bytes.toString("utf8", start + bounds[column * 3]!, start + bounds[column * 3 + 1]!);
      return bounds[column * 3 + 2] === 1 ? text.replaceAll('""', '"') : text;
    };
    // A picked column that the record does not have is empty. The caller checks `count`.
    const fields = this.pick
      ? this.pick.map((column) => (column < count ? decode(column) : ""))
      : Array.from({ length: count }, (_, column) => decode(column));
    const repaired = !isUtf8(bytes.subarray(start, start + this.#at));
    const line = this.line;
    this.#leave();
    return { line, fields, count, repaired };
  }

  #leave(): void {
    this.line += this.#breaks;
    this.#begin(this.#at);
  }

  #earned(): number {
    return Math.min(MAX_CREDIT, this.#credit + this.position - this.#creditedAt);
  }

  /** Begins a record `length` bytes after the start of the last one. */
  #begin(length: number): void {
    this.#window.start += length;
    this.#at = 0;
    this.#breaks = 0;
    this.#count = 0;
    this.#state = FIELD_START;
  }

  /** Skips the line breaks before a record: the one that ends the previous record, and blank lines. */
  #skipBlank(): void {
    const window = this.#window;
    for (; window.start < window.end; window.start++) {
      const byte = window.bytes[window.start];
      if (byte !== LF && byte !== CR) {
        this.#afterCr = false;
        return;
      }
      if (byte === CR || !this.#afterCr) this.line++;
      this.#afterCr = byte === CR;
    }
  }

  /** The error of the current record. Reading returns to the line after the one on which the record began. */
  #fail({ code, why }: Bad): CsvRecord {
    const { bytes, start } = this.#window;
    const line = this.line;
    const stop = start + this.#at;
    let next = start;
    while (next < stop && bytes[next] !== LF && bytes[next] !== CR) next++;
    const again = stop - next;
    // If text follows a closing quote, its first byte was examined.
    this.#reach = Math.max(this.#reach, this.position + this.#at + (this.#state === QUOTE_SEEN ? 1 : 0));
    this.#credit = this.#earned();
    this.#creditedAt = this.position;
    let left = "";
    if (again <= this.#credit) {
      this.#credit -= again;
      this.#begin(next - start);
    } else {
      this.#leave();
      left = `; lines ${line + 1} to ${this.line} are left out`;
    }
    // The position is at a line break, or before the rest of a line that belongs to the bad record.
    this.#state = DISCARDING;
    const message = `line ${line}: the record that begins here cannot be read: ${why}${left}`;
    return { line, error: { code, message } };
  }

  #discard(): void {
    const window = this.#window;
    const { bytes, end } = window;
    while (window.start < end && bytes[window.start] !== LF && bytes[window.start] !== CR) window.start++;
    if (window.start < end) this.#state = FIELD_START;
  }
}
