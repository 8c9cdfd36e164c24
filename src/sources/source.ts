import type { ColumnType, Input, PassedOverReport, ReadOptions } from "../schemas/input.ts";
import type { ItemError } from "../schemas/item.ts";
import type { Split } from "../schemas/split.ts";

/** One record of an input: a text, an image or image reference, or an error. */
export type SourceRecord = {
  /** The record's number in its input, from 0. A malformed record counts; a header or a skipped blank line does not. */
  record: number;
  /** The line on which the record begins, from 1. */
  line?: number;
  id: string;
  text?: string;
  image?: string;
  /** The image itself, if the input contains it. It is never part of a job. */
  data?: Uint8Array;
  error?: ItemError;
  input?: Record<string, unknown>;
  repaired?: true;
  /** The filter excludes the record. It is counted and has no other fields. */
  skipped?: true;
};

/** An open input. `records()` reads it from its beginning: repeatedly for files, folders, URLs and S3, only once for standard input. */
export interface Source {
  /** The input's identity when it was opened. */
  readonly input: Input;
  /** How it is read, with the detected options (format, delimiter, column). */
  readonly read: ReadOptions;
  /** The types of the kept columns, if the input defines them. */
  readonly columns?: Readonly<Record<string, ColumnType>>;
  /** @param idName the prefix of made ids, before `#`. Default: the source's own */
  records(idName?: string): AsyncIterable<SourceRecord>;
  /**
   * What ids derive from if the data has none. Default: the numbers of records. Other values: the names of an archive's members; the paths of
   * images below a folder; `data` if ids always come from the data.
   */
  readonly ids?: "numbers" | "members" | "data" | { paths(): Iterable<string> };
  /** Present if workers can read a part of the input without the rest. */
  readonly splitter?: Splitter;
  /** The items cannot be part of a job: `records()` only counts them, and workers must read the splits. */
  readonly onlySplits?: true;
}

/** Where reading continues: after `record` records. The other fields are only for the splitter that made them. */
export type Cursor = { record: number; offset?: number; line?: number; discarding?: true; credit?: number };

export type CutSize = { items: number; bytes: number };

/**
 * A piece of an input, and where the next one begins. `bytes`: what it adds to a slice. `passedOver`: only in the first cut, if anything in the
 * input is passed over.
 */
export type Cut = { split: Split; bytes: number; next: Cursor; passedOver?: PassedOverReport };

/** Finds the addresses of an input's records. It reads as little of them as possible. */
export interface Splitter {
  /**
   * Cuts the input from a place on. Cuts follow one another without gap or overlap to the end of the input. Each has at least one record. A cut
   * ends with the item that fills its room, or after the records that one split can address. So a cut may have no items.
   * @param room items and bytes that the next cut may have. It is called before each cut
   * @param sample the share of the records that are items, among those that pass the filter (isSampled)
   */
  cuts(from: Cursor, room: () => CutSize, sample: number | undefined): AsyncIterable<Cut>;
}

/** The most bytes of one record of a table or list, without its line break. It bounds the memory that a bad record can take. */
export const MAX_RECORD_BYTES = 1 << 20;
/** The most bytes, as JSON, that the kept columns of one record may have. */
export const MAX_KEPT_BYTES = 64 * 1024;
/** The longest id, in UTF-16 code units. A longer one is shortened (boundedId). */
export const MAX_ID_LENGTH = 4096;

/** A name given by the user, for a message: in quotes, on one line, of bounded length. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);
}
