import type { ItemError } from "../schemas/item.ts";
import type { Input, ReadOptions } from "../schemas/run.ts";

/** One record of an input: a text or image reference, or the reason why there is none. */
export type SourceRecord = {
  /** The record's number in its input, from 0; a malformed record is one, a header or a skipped blank line is not. */
  record: number;
  /** The line on which the record begins, from 1. */
  line?: number;
  id: string;
  text?: string;
  image?: string;
  error?: ItemError;
  input?: Record<string, unknown>;
  repaired?: true;
};

/**
 * An input that was found good when it was opened. `records()` reads it from its beginning: as often as wanted for files,
 * folders, URLs and S3, once for standard input.
 */
export interface Source {
  /** The input's identity when it was opened. */
  readonly input: Input;
  /** How it is read, with all that could be found by looking (format, delimiter, column) filled in. */
  readonly read: ReadOptions;
  records(): AsyncIterable<SourceRecord>;
}

/** The most bytes of one record of a table or list, its line break not counted: what a bad record may take of memory. */
export const MAX_RECORD_BYTES = 1 << 20;
/** The most bytes, as JSON, that the kept columns of one record may have. */
export const MAX_KEPT_BYTES = 64 * 1024;
/** The longest id, in UTF-16 code units; what is longer is cut. */
export const MAX_ID_LENGTH = 4096;

/** A name of the user's for a message: in quotes, on one line, of bounded length. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);
}
