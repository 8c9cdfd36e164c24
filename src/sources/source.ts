import type { ColumnType, Input, PassedOverReport, ReadOptions } from "../schemas/input.ts";
import type { ItemError } from "../schemas/item.ts";
import type { Split } from "../schemas/split.ts";

/** One record of an input: a text or image reference, or the reason why there is none. */
export type SourceRecord = {
  /** The record's number in its input, from 0; a malformed record is one, a header or a skipped blank line is not. */
  record: number;
  /** The line on which the record begins, from 1. */
  line?: number;
  id: string;
  text?: string;
  image?: string;
  /** The image itself, where it lies in the input: never travels. */
  data?: Uint8Array;
  error?: ItemError;
  input?: Record<string, unknown>;
  repaired?: true;
  /** A filter on its columns leaves it out: it is counted and has nothing else. */
  skipped?: true;
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
  /** What the kept columns hold, as far as the input says. */
  readonly columns?: Readonly<Record<string, ColumnType>>;
  /** @param idName what made ids begin with, before `#`; by default what the input alone says */
  records(idName?: string): AsyncIterable<SourceRecord>;
  /**
   * What ids are made of where the data have none: by default the numbers of records; the names of an archive's members; the paths of images
   * below a folder; or they are always the data's own.
   */
  readonly ids?: "numbers" | "members" | "data" | { paths(): Iterable<string> };
  /** There where others can read a part of the input without the rest of it. */
  readonly splitter?: Splitter;
  /** The items lie in the input itself and cannot travel: `records()` is good for counting alone, and workers must read the splits. */
  readonly onlySplits?: true;
}

/** Where reading goes on: after so many records. What else there is of it only its splitter understands. */
export type Cursor = { record: number; offset?: number; line?: number; discarding?: true; credit?: number };

export type CutSize = { items: number; bytes: number };

/**
 * A piece of an input, and where the next one begins. `bytes` is what it adds to a slice; `passedOver` is there with the input's first cut,
 * where the whole input holds what is passed over.
 */
export type Cut = { split: Split; bytes: number; next: Cursor; passedOver?: PassedOverReport };

/** Finds the addresses of an input's records without taking more of them than it must. */
export interface Splitter {
  /**
   * Cuts the input from a place on. Cuts follow one another without gap or overlap to the end of the input; each has one record at
   * least. One ends with the item that fills the room it was given, or goes on over records that are no items, as far as one split can
   * reach: so a cut can be without items.
   * @param room items and bytes that the next cut may have; asked anew before each
   * @param sample the share of the records that are items, of those that pass the filter (isSampled)
   */
  cuts(from: Cursor, room: () => CutSize, sample: number | undefined): AsyncIterable<Cut>;
}

/** The most bytes of one record of a table or list, its line break not counted: what a bad record may take of memory. */
export const MAX_RECORD_BYTES = 1 << 20;
/** The most bytes, as JSON, that the kept columns of one record may have. */
export const MAX_KEPT_BYTES = 64 * 1024;
/** The longest id, in UTF-16 code units; a longer one is shortened (boundedId). */
export const MAX_ID_LENGTH = 4096;

/** A name of the user's for a message: in quotes, on one line, of bounded length. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);
}
