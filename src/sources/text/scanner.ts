/** Where a scanner begins in its input: the byte, the line from 1, and the state of an earlier scanner there. */
export type ScanPlace = {
  position: number;
  line: number;
  /** The place is in the rest of a bad record's line, which is skipped. */
  discarding?: true;
  /** Bytes that may be read a second time after bad records. Default: as many as at the beginning of an input. */
  credit?: number;
};

/**
 * Splits bytes, in chunks of any size, into records. The result does not depend on the chunks. Between two records it can be replaced: a new
 * scanner that begins at its `place` finds the same records from there on.
 */
export interface Scanner<R> {
  /** The number of the line at `place`. While a record is read, the line on which it begins. */
  readonly line: number;
  append(chunk: Uint8Array): void;
  /** The next record. Undefined: more bytes are needed. @param last there are no more bytes, so the rest is the last record */
  next(last: boolean): R | undefined;
  /** As `next`, but nothing is decoded. @returns whether there was a record */
  pass(last: boolean): boolean;
  /** The offset at which the search for the next record begins; and the same with the state there. */
  readonly position: number;
  readonly place: ScanPlace;
  /** The offset up to which bytes were examined because of bad records; 0 if no bad record was found since the last call. */
  takeReach(): number;
}

/** The records that end in the appended bytes. The caller must read all of them before it appends more. */
export function* recordsIn<R>(scanner: Scanner<R>, last: boolean): Generator<R> {
  for (let raw = scanner.next(last); raw !== undefined; raw = scanner.next(last)) yield raw;
}
