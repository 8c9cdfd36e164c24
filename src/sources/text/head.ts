import type { Peekable } from "../bytes/peekable.ts";

/** The beginning of an input's text. `whole`: it is the whole text. */
export type Head = { bytes: Buffer; whole: boolean };

/** Sizes of the head in bytes. The next one is tried if one is not enough. */
const SIZES = [64 << 10, 512 << 10, 4 << 20, 8 << 20];

/** The first 64 KiB of an input, or more until `isEnough`, 8 MiB at most. The result does not depend on the stream's chunks. */
export async function headOf(bytes: Peekable, isEnough: (head: Head) => boolean): Promise<Head> {
  let head: Head = { bytes: Buffer.alloc(0), whole: false };
  for (const size of SIZES) {
    const begin = await bytes.peek(size);
    head = { bytes: begin.subarray(0, size), whole: begin.length < size };
    if (head.whole || isEnough(head)) break;
  }
  return head;
}

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;

/** This many line ends outside quotes are enough to distinguish a table from text. */
const ENOUGH_LINES = 20;

/** Whether the head contains the first records of a table, of any size. */
export function holdsRecords({ bytes }: Head): boolean {
  let lines = 0;
  let isQuoted = false;
  for (const byte of bytes) {
    if (byte === QUOTE) isQuoted = !isQuoted;
    else if (!isQuoted && (byte === LF || byte === CR) && ++lines >= ENOUGH_LINES) return true;
  }
  return false;
}
