/** Where a scanner begins in its input: the byte, its line from 1, and what was left of an earlier scanner's state there. */
export type ScanPlace = {
  position: number;
  line: number;
  /** It lies in the rest of a bad record's line, which is passed over. */
  discarding?: true;
  /** Bytes that may be read a second time after bad records; undefined: as many as at the beginning. */
  credit?: number;
};

/**
 * Cuts bytes, in chunks of any size, into records; what it finds does not depend on how they were cut. Between two records it can
 * be left: one that begins at its `place` finds the same records from there on.
 */
export interface Scanner<R> {
  /** The number of the line at `place`; while a record is read, of the one on which it begins. */
  readonly line: number;
  append(chunk: Uint8Array): void;
  /** The next record, or undefined where it takes more bytes. `last`: there are none, so what is left is the last one. */
  next(last: boolean): R | undefined;
  /** As `next`, but only whether there is one: nothing is decoded. */
  pass(last: boolean): boolean;
  /** The byte where the next record is looked for, and all there is to say of it. */
  readonly position: number;
  readonly place: ScanPlace;
  /** The byte up to which bad records made it look; 0 where none did since the last call. */
  takeReach(): number;
}

/** The records that end in what the scanner was given; to be taken to the end before it is given more. */
export function* recordsIn<R>(scanner: Scanner<R>, last: boolean): Generator<R> {
  for (let raw = scanner.next(last); raw !== undefined; raw = scanner.next(last)) yield raw;
}
